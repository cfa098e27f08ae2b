"""Starts the baseline: Postgres and Redis from Debian's packages, and its own processes from `.venv-baseline`."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes
from benchmarks.report import ROOT
from local.emulator import HOST, free_port
from local.errors import LocalError

BIN = ROOT / ".venv-baseline" / "bin"
CORES = os.cpu_count() or 1
LIMIT = 60.0  # seconds; two are usual


class BaselineError(LocalError):
    """The baseline can't be started; says why."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to build the baseline: its package, and how its workers run."""

    package: str
    pool: tuple[str, ...] = ()
    """Options of Celery's worker."""
    processes: int = 1
    """Celery workers. Of the hardened form a supervisor starts each again when it ends."""
    relay: bool = False
    """Whether a process sends the outbox to the broker."""


DEFAULT = Form("benchmarks.baseline")


def hardened(pool: str, at_once: int, processes: int = CORES) -> Form:
    """The hardened form with one of Celery's pools; `at_once` jobs run at a time, in all its processes together."""
    each = -(-at_once // processes)
    # What workers tell each other costs each of them CPU, and no one listens.
    options = ("--pool", pool, "--concurrency", str(each), "--without-gossip", "--without-mingle")
    return Form("benchmarks.baseline.hardened", options, processes, relay=True)


@dataclass(frozen=True, slots=True)
class Backing:
    """The database and the broker, and what the baseline's processes see of them."""

    form: Form
    environment: Mapping[str, str]
    redis_cli: Sequence[str]

    @contextmanager
    def web(self, *, workers: int = CORES) -> Iterator[tuple[str, int]]:
        """The HTTP side; gives its URL, and the process. It may not listen yet."""
        port = free_port()
        command = ["uvicorn", f"{self.form.package}.web:app", "--port", str(port), "--log-level", "warning"]
        # One process alone is not watched by another.
        command += ["--workers", str(workers)] if workers > 1 else []
        with _process(command, self.environment) as process:
            yield f"http://{HOST}:{port}", process.pid

    @contextmanager
    def workers(self) -> Iterator[tuple[int, ...]]:
        """Celery, once it takes tasks; gives the processes from which all that runs jobs comes."""
        with ExitStack() as cleanup:
            pids = []
            for number in range(self.form.processes):
                command = ["celery", "--app", f"{self.form.package}.worker", "worker", *self.form.pool]
                if self.form.relay:
                    command = [*_SUPERVISED, str(BIN / "celery"), *command[1:], "--hostname", f"worker{number}@%h"]
                pids.append(cleanup.enter_context(_process(command, self.environment)).pid)
            # Asking Celery itself (`inspect ping`) takes seconds; Redis knows who waits for a task.
            wait(lambda: self.said("client", "list").count("cmd=brpop") >= self.form.processes, "Celery's worker")
            yield tuple(pids)

    @contextmanager
    def relay(self) -> Iterator[tuple[int, ...]]:
        """What sends the outbox; nothing where the form has none."""
        if not self.form.relay:
            yield ()
            return
        with _process(
            [*_SUPERVISED, str(BIN / "python"), "-m", f"{self.form.package}.relay"], self.environment
        ) as process:
            yield (process.pid,)

    def messages(self) -> int:
        """How many messages the broker holds: in its queue, or given to a worker that has not acknowledged them."""
        return int(self.said("llen", "celery")) + int(self.said("hlen", "unacked"))

    def query(self, statement: str) -> str:
        """What Postgres says to a statement."""
        return _said(["psql", "--no-psqlrc", "--tuples-only", self.environment["DATABASE_URL"], "--command", statement])

    def said(self, *command: str) -> str:
        """What Redis says to a command."""
        return _said([*self.redis_cli, *command])


# As systemd's Restart=always, or any orchestrator.
_SUPERVISED = ("sh", "-c", 'while :; do "$@"; done', "supervisor")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline as a side of the comparison."""

    url: str
    backing: Backing
    pids: tuple[int, ...]
    workers: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Of web, relay and worker processes, so far."""
        return sum(map(processes.cpu_seconds_of_tree, self.pids))

    def memory(self) -> int:
        """Bytes that web, relay and worker processes hold."""
        return sum(processes.memory(pid) for root in self.pids for pid in (root, *processes.descendants(root)))

    def running(self) -> list[int]:
        """The processes in which jobs run: Celery's children, or the supervisors'."""
        return [pid for root in self.workers for pid in processes.descendants(root)]

    def gave_up(self) -> bool:
        """Whether nothing is left that could run a job: no message, and no relay that sends due jobs again."""
        return not self.backing.form.relay and self.backing.messages() == 0


@contextmanager
def start(base_url: str, *, form: Form = DEFAULT, working: bool = True) -> Iterator[Baseline]:
    """The whole baseline, with the model at `base_url`; without its workers if not `working`. Raises BaselineError."""
    with backing(base_url, form) as services, services.web() as (url, web), ExitStack() as cleanup:
        wait_for_http(f"{url}/openapi.json")
        relay = cleanup.enter_context(services.relay())
        workers = cleanup.enter_context(services.workers()) if working else ()
        yield Baseline(url, services, (web, *relay, *workers), workers)


@contextmanager
def backing(base_url: str, form: Form = DEFAULT) -> Iterator[Backing]:
    """Postgres with the form's tables, and Redis, each with its own folder and port. Raises BaselineError."""
    install()
    with tempfile.TemporaryDirectory(prefix="jobchain-baseline-") as name, ExitStack() as cleanup:
        folder = Path(name)
        database = cleanup.enter_context(_postgres(folder))
        broker = cleanup.enter_context(_redis(folder))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'common'}",
            "DATABASE_URL": database,
            "REDIS_URL": broker,
            "OPENAI_API_KEY": "no-key-needed",
            "OPENAI_BASE_URL": base_url,
            "NO_PROXY": HOST,
        }
        make = f"from {form.package}.store import Store; Store(1).create_tables()"
        subprocess.run([BIN / "python", "-c", make], env=environment, cwd=ROOT, check=True)
        yield Backing(form, environment, ("redis-cli", "-u", broker))


def install() -> None:
    """Have Debian's packages installed. Raises BaselineError where that takes rights that we don't have."""
    if not (BIN / "celery").exists():
        raise BaselineError(f"{BIN.parent} is not there: run `make bench`, which makes it")
    missing = [
        package
        for package, found in {"redis-server": shutil.which("redis-server"), "postgresql": _postgres_folder()}.items()
        if not found
    ]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise BaselineError(f"the baseline needs {' and '.join(missing)}: as root, run `{' '.join(command)}`")
    for step in (["apt-get", "update"], command):
        subprocess.run(step, check=True, stdout=subprocess.DEVNULL)


def programs() -> list[str]:
    """The services' programs that are there."""
    found = [shutil.which("redis-server"), (folder := _postgres_folder()) and str(folder / "postgres")]
    return [program for program in found if program]


def _postgres_folder() -> Path | None:
    """Where Debian keeps the newest version's programs, which are not on the PATH."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """Postgres with its defaults, but for connections; gives its URL."""
    programs = _postgres_folder()
    assert programs is not None
    data, port = folder / "postgres", free_port()
    data.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # It refuses to run as root; the package brings a user of its own.
        user = pwd.getpwnam("postgres")
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        folder.chmod(0o755)
        os.chown(data, user.pw_uid, user.pw_gid)
    # With the locale C alone it would take ASCII, and give texts as bytes.
    init = [*as_user, str(programs / "initdb"), "--pgdata", str(data), "--username", "jobs", "--auth", "trust"]
    init += ["--encoding", "UTF8"]
    subprocess.run(
        init, check=True, stdout=subprocess.DEVNULL, cwd="/", env={"PATH": os.environ["PATH"], "LC_ALL": "C"}
    )
    # Each of a hundred prefork processes needs one.
    options = ["-c", "max_connections=300"]
    options += ["-c", f"port={port}", "-c", f"listen_addresses={HOST}", "-c", f"unix_socket_directories={data}"]
    with _process([*as_user, str(programs / "postgres"), "-D", str(data), *options], {}, stop=signal.SIGINT):
        ready = [str(programs / "pg_isready"), "--host", HOST, "--port", str(port), "--username", "jobs"]
        wait(lambda: "accepting" in _said(ready), "Postgres")
        yield f"postgresql://jobs@{HOST}:{port}/postgres"


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """Redis with its defaults but for the disk, which a broker can do without; gives its URL."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", ""]
    with _process(command, {}):
        url = f"redis://{HOST}:{port}/0"
        wait(lambda: "PONG" in _said(["redis-cli", "-u", url, "ping"]), "Redis")
        yield url


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], stop: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """A process group for as long as the block lasts; programs of `.venv-baseline` come first.

    What it said is shown where the block fails.
    """
    program = BIN / command[0]
    command = [str(program) if program.exists() else command[0], *command[1:]]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        except BaseException:
            log.seek(0)
            print(log.read().decode(errors="replace")[-2000:])
            raise
        finally:
            process.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _said(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def wait_for_http(url: str) -> None:
    """Return once a GET is answered. Raises BaselineError."""

    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    wait(answers, "the baseline's web process")


def wait(ready: Callable[[], bool], what: str) -> None:
    """Return once it is ready. Raises BaselineError after `LIMIT`."""
    deadline = time.monotonic() + LIMIT
    while not ready():
        if time.monotonic() > deadline:
            raise BaselineError(f"{what} does not answer after {LIMIT:g} s")
        time.sleep(0.05)
