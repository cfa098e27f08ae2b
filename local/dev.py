"""The development stack: it runs until it is stopped, and takes changed code and a changed template."""

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.chain_list import PackagesError
from local.deployer import DeployError
from local.emulator import free_port, is_healthy
from local.emulator_clients import Clients, Credentials
from local.errors import LocalError
from local.kept_jobs import KeptJobs, NotKept
from local.logs import LogFollower, tracebacks
from local.private import write_private
from local.sam_template import TemplateError
from local.settings import Settings
from local.stack import EmbeddedStack

POLL_SECONDS = 0.5
LAST_LINES = 50
"""How many lines of the past `make logs` prints."""


class AlreadyRunning(LocalError):
    """A stack of this folder is up; says where."""


class NotRunning(LocalError):
    """No stack of this folder is up."""


class StackEnded(LocalError):
    """The emulator ended by itself."""


class StackFile:
    """`.local/stack.json`: where the running stack is and its keys, for `logs` and for other tools."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stack.json"

    def read(self) -> dict[str, Any] | None:
        """What it says, if the process that wrote it and its emulator still run."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            alive = _is_process(content["pid"]) and is_healthy(int(content["endpoint_url"].rpartition(":")[2]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return content if alive else None

    def write(self, stack: EmbeddedStack) -> None:
        """Tell that this process runs the stack; readers never see half a file, and other users nothing of it."""
        content = {
            "pid": os.getpid(),
            "api_url": stack.api_url,
            "endpoint_url": stack.endpoint_url,
            "region": stack.region,
            "access_key": stack.credentials.access_key,
            "secret_key": stack.credentials.secret_key,
            "table": stack.table,
            "queue_url": stack.queue_url,
            "flex_queue_url": stack.flex_queue_url,
            "dead_letter_url": stack.dead_letter_url,
            "sweeper": stack.sweeper,
            "llm_base_url": stack.llm_base_url,
        }
        unfinished = self.path.with_suffix(".tmp")
        write_private(unfinished, json.dumps(content, indent=2) + "\n")
        unfinished.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def run(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Run the stack of the project in `root` until an exception, such as KeyboardInterrupt, ends it.

    Raises AlreadyRunning, StackEnded, SettingsError, and what `EmbeddedStack.start` raises.
    """
    folder = root / ".local"
    folder.mkdir(exist_ok=True)
    file = StackFile(folder)
    if running := file.read():
        raise AlreadyRunning(f"a stack is already running here: {running['api_url']} (process {running['pid']})")
    file.remove()
    template = root / "template.yaml"
    kept = KeptJobs(folder)
    # Settings that can't work are refused before anything else is said.
    settings = Settings.load(root)
    settings.check_environment(os.environ)
    free = free_port(port)
    if port not in (0, free):
        say(f"Port {port} is taken, so this stack uses {free}.")
    with EmbeddedStack.start(
        settings, template=template, folder=folder, port=free, reload=True, live=True, say=say
    ) as stack:
        _restore(kept, stack, say)
        try:
            # Before anybody is told: a change from now on is deployed.
            deployed = _changed_at(template, stack)
            file.write(stack)
            say(welcome(stack.api_url, stack.endpoint_url, answers(settings, stack), settings.needs_key))
            stack.warm_up()
            for warning in [*_warnings(settings), *_chain_warnings(stack)]:
                say(f"warning: {warning}")
            _watch(stack, template, deployed, file, say)
        finally:
            file.remove()
            _keep(kept, stack, say)


def answers(settings: Settings, stack: EmbeddedStack) -> str:
    """Which model answers, and where, for the developer."""
    if settings.offline:
        return "the offline model: it copies sentences by rules, and is no GPT (a real one: docs/how-to/models.md)"
    return f"{stack.model} at {stack.llm_base_url or 'OpenAI'}"


def _restore(kept: KeptJobs, stack: EmbeddedStack, say: Callable[[str], None]) -> None:
    try:
        if jobs := kept.restore(stack):
            say(f"{_counted(jobs)} of the last run {'is' if jobs == 1 else 'are'} back.")
    except NotKept as error:
        say(f"warning: {error}")


def _keep(kept: KeptJobs, stack: EmbeddedStack, say: Callable[[str], None]) -> None:
    try:
        if jobs := kept.save(stack):
            say(f"{_counted(jobs)} kept for the next `make dev`, in {kept.file}")
    except NotKept as error:
        say(f"warning: {error}")


def _counted(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs} jobs"


def _warnings(settings: Settings) -> Sequence[str]:
    """The warnings about a real server's model; none for the offline model."""
    if settings.offline or settings.model_provider == "bedrock":
        return ()
    from local import preflight  # noqa: PLC0415 - it brings the model's SDK along

    names = {
        "OPENAI_API_KEY": settings.openai_api_key,
        "OPENAI_BASE_URL": settings.openai_base_url,
        "OPENAI_MODEL": settings.openai_model,
    }
    report = preflight.preflight(preflight.target_of(names), datetime.now(UTC).date())
    return (*report.failures, *report.warnings)


def follow_logs(root: Path, say: Callable[[str], None]) -> None:
    """Print the last `LAST_LINES` of the functions' logs, then new ones, until the stack ends. Raises NotRunning."""
    file = StackFile(root / ".local")
    running = _running(file)
    follower = LogFollower(Clients(running["endpoint_url"], running["region"], credentials_of(running)))
    for line in follower.last_lines(LAST_LINES, time.time_ns() // 1_000_000):
        say(line.message)
    while file.read() == running:
        for line in follower.new_lines():
            say(line.message)
        time.sleep(1)
    say("The stack has stopped.")


def shell_variables(root: Path) -> str:
    """Shell commands that point AWS's tools at the stack of `make dev`, with its keys. Raises NotRunning."""
    running = _running(StackFile(root / ".local"))
    credentials = credentials_of(running)
    variables = {
        "AWS_ENDPOINT_URL": running["endpoint_url"],
        # awslocal's own.
        "LOCALSTACK_HOST": running["endpoint_url"].partition("://")[2],
        "AWS_DEFAULT_REGION": running["region"],
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(["unset AWS_PROFILE AWS_SESSION_TOKEN", *lines])


def credentials_of(running: Mapping[str, Any]) -> Credentials:
    """The keys of a stack, from what its file says."""
    return Credentials(running["access_key"], running["secret_key"])


def _running(file: StackFile) -> dict[str, Any]:
    if (running := file.read()) is None:
        raise NotRunning("no stack is running here: start one with `make dev`")
    return running


def _watch(
    stack: EmbeddedStack,
    template: Path,
    deployed: Mapping[Path, int | None],
    file: StackFile,
    say: Callable[[str], None],
) -> None:
    follower = LogFollower(stack.clients)
    while True:
        time.sleep(POLL_SECONDS)
        if not stack.emulator.is_running():
            raise StackEnded(f"the emulator has ended by itself: see {stack.emulator.log_file}")
        changed = _changed_at(template, stack)
        moved_away = any(at is None and deployed.get(path) is not None for path, at in changed.items())
        if changed != deployed and not moved_away:
            what = [path.name for path in changed if changed[path] != deployed.get(path)]
            stack = _redeploy(stack, what[0] if what else template.name, say)
            deployed = _changed_at(template, stack) | changed
            file.write(stack)
        for line in stack.packages.take_changes():
            say(line)
        for traceback in tracebacks(follower.new_lines()):
            say(traceback)


def _chain_warnings(stack: EmbeddedStack) -> Sequence[str]:
    """Why chains can't be used."""
    try:
        return [*stack.packages.faults().values()]
    except PackagesError as error:
        return [str(error)]


def _redeploy(stack: EmbeddedStack, changed: str, say: Callable[[str], None]) -> EmbeddedStack:
    say(f"{changed} has changed, deploying it …")
    try:
        stack = stack.redeploy()
    except (TemplateError, DeployError, PackagesError) as error:
        say(f"Not deployed: {error}")
    else:
        say(f"Deployed. Tables and queues kept their data. {stack.api_url}")
        for fault in _chain_warnings(stack):
            say(f"warning: {fault}")
    return stack


def welcome(api_url: str, endpoint_url: str, model: str, needs_key: bool) -> str:
    """The message for the developer once the stack is running."""
    body = '{"input_text": "Passwords must have 12 characters. Users should not reuse them."}'
    key = '-H "Authorization: Bearer $KEY" ' if needs_key else ""
    return "\n".join(
        [
            f"API       {api_url}",
            f"Dashboard {api_url}/queue",
            f"API docs  {api_url}/docs",
            f"AWS       {endpoint_url}  (`make aws-env` prints the variables for AWS's tools)",
            f"Model     {model}",
            *(["Keys      required: create one in another terminal, as below"] if needs_key else []),
            "",
            *(["  KEY=$(.venv/bin/jobchain keys create --tenant me)"] if needs_key else []),
            f"  curl -s {api_url}/jobs {key}-H 'Content-Type: application/json' -d '{body}'",
            "",
            "Changes to the code and to template.yaml are loaded automatically.",
            "`make logs` shows the logs, Ctrl-C stops.",
        ]
    )


def _changed_at(template: Path, stack: EmbeddedStack) -> dict[Path, int | None]:
    """When what a deployment is made of was changed, in nanoseconds since 1970.

    None while an editor has a file moved away.
    """
    found: dict[Path, int | None] = {}
    for path in (template, *stack.packages.watched):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            found[path] = None
    return found


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
