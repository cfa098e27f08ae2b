"""The AWS emulator (ministack) as a child process that listens on 127.0.0.1 only, unless set otherwise."""

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Signer

from local import guard
from local.emulator_clients import REGION, Credentials
from local.errors import LocalError

HOST = "127.0.0.1"
START_LIMIT = 30.0  # seconds; half a second is usual
STOP_LIMIT = 5.0  # seconds; a quarter of a second is usual

# Of the caller's environment the emulator and the functions get these and nothing else: no credentials, no
# AWS_PROFILE, no setting that ministack happens to know by the same name. Proxies and certificates are for the model's
# server; AWS's own settings for them, such as AWS_CA_BUNDLE, are not, as AWS is this machine here.
INHERITED = frozenset(
    {
        "PATH",
        "HOME",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    }
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
)

# By its path: the project is not on the emulator's own.
_BOOT = f"""
import runpy
runpy.run_path({str(Path(guard.__file__))!r}, run_name="__main__")
"""


class EmulatorError(LocalError):
    """The emulator did not start."""


def free_port(preferred: int = 0) -> int:
    """The preferred port if nothing uses it, else one that is free; 0 means any."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            if port and probe.connect_ex((HOST, port)) == 0:
                continue
        with socket.socket() as server, contextlib.suppress(OSError):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((HOST, port))
            return int(server.getsockname()[1])
    raise EmulatorError("no TCP port is free on 127.0.0.1")


def is_healthy(port: int) -> bool:
    """Whether an emulator answers on this port of 127.0.0.1."""
    return _request("GET", port, guard.HEALTH, timeout=2) == 200


def child_environment(caller: Mapping[str, str], credentials: Credentials, added: Mapping[str, str]) -> dict[str, str]:
    """What the emulator and its functions see: few of the caller's variables, and the stack's own credentials."""
    no_proxy = ",".join(filter(None, [caller.get("NO_PROXY") or caller.get("no_proxy"), HOST, "localhost"]))
    return {
        **{name: value for name, value in caller.items() if name in INHERITED},
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUTF8": "1",
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **added,
    }


class Emulator:
    """One emulator: its port, its folder (`emulator.log`, and `emulator/` while it runs) and its process.

    It answers the API's callers, and besides only requests that are signed with its `credentials`: see `local.guard`.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        environment: Mapping[str, str] | None = None,
        *,
        persist: bool = False,
        bind_host: str = HOST,
        hosts: Collection[str] = (),
    ) -> None:
        """`environment` is added to what functions see. `persist` keeps the state over a stop and a launch.

        `bind_host` is the address that it listens on; `url` names 127.0.0.1 either way. `hosts` are the names, besides
        localhost and 127.0.0.1, that the API may be called by.
        """
        self.port = port
        self.credentials = Credentials.new()
        self.url = f"http://{HOST}:{port}"
        self.log_file = folder / "emulator.log"
        self._folder = folder / "emulator"
        self._environment = dict(environment or {})
        self._persist = persist
        self._bind_host = bind_host
        self._hosts = tuple(hosts)
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process and return at once; `wait` tells when it is ready."""
        temporary = self._folder / "tmp"
        shutil.rmtree(temporary if self._persist else self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.mkdir()
        own = {
            "BIND_HOST": self._bind_host,
            guard.HOSTS_VARIABLE: ",".join(self._hosts),
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_REGION": REGION,
            "TMPDIR": str(temporary),
            "STATE_DIR": str(self._folder / "state"),
            "S3_DATA_DIR": str(self._folder / "s3"),
            "PERSIST_STATE": "1" if self._persist else "0",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # Without a Docker daemon it needs none, and touches no container of the developer's.
            "DOCKER_HOST": f"unix://{temporary}/no-docker.sock",
        }
        with self.log_file.open("wb") as log:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops this child in order.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT],
                env=child_environment(os.environ, self.credentials, {**self._environment, **own}),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return once it answers. Raises EmulatorError if it ends first, or after `START_LIMIT`."""
        deadline = time.monotonic() + START_LIMIT
        while not (self._answers() and self.is_running()):
            if not self.is_running():
                raise EmulatorError(f"the emulator ended while starting:\n{self._last_output()}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"the emulator did not answer within {START_LIMIT:g} s:\n{self._last_output()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Whether it is this emulator that answers: another process may have taken the port before it could."""
        challenge = secrets.token_urlsafe()
        expected = guard.proof(self.credentials.secret_key, challenge)
        answer = _answer("GET", self.port, guard.HEALTH, timeout=2, headers={guard.CHALLENGE: challenge})
        return answer is not None and answer.headers.get(guard.PROOF) == expected

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def stop(self) -> None:
        """Stop it, its functions' processes and its temporary files; a persisted state stays in its folder."""
        process, self._process = self._process, None
        if process is None:
            return
        if not self._persist and process.poll() is None:
            # Ends the functions' processes and removes their code; it would erase a persisted state too.
            _request("POST", self.port, "/_ministack/reset", timeout=STOP_LIMIT, credentials=self.credentials)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
        shutil.rmtree(self._folder / "tmp" if self._persist else self._folder, ignore_errors=True)

    def _last_output(self, lines: int = 15) -> str:
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _request(method: str, port: int, path: str, timeout: float, credentials: Credentials | None = None) -> int | None:
    """The answer's status, None without an answer; signed with the credentials, if there are any."""
    request = AWSRequest(method, f"http://{HOST}:{port}{path}")
    if credentials:
        SigV4Auth(Signer(credentials.access_key, credentials.secret_key), "ministack", REGION).add_auth(request)
    answer = _answer(method, port, path, timeout, dict(request.headers.items()))
    return answer.status if answer else None


def _answer(
    method: str, port: int, path: str, timeout: float, headers: Mapping[str, str]
) -> http.client.HTTPResponse | None:
    """The answer without its body, None without an answer. `http.client` heeds no proxy setting."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
