"""`sam local` with the tables and queues of an emulator: the one that is up, else one of its own."""

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local import sam_template
from local.architecture import machine_architecture
from local.deployer import STACK_NAME
from local.dev import StackFile, credentials_of
from local.emulator import HOST, free_port
from local.emulator_clients import Clients, Credentials
from local.errors import LocalError
from local.function_zips import BUILD, check_build
from local.private import write_private
from local.relay import relay
from local.settings import Settings
from local.stack import EmbeddedStack

COMPOSE_PORT = 4566
_DESKTOP_HOST = "host.docker.internal"
# Variables that the template does not name and functions here need: SAM hands on none but the template's. They
# overrule the credentials that SAM makes up.
_ADDED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY")
# With made-up credentials in its own environment each start of SAM stalls for seconds.
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


class SamError(LocalError):
    """`sam local` can't run, or has failed; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `sam local` is given: the files, and the Docker network of the emulator where it runs in one."""

    template: Path
    variables: Path
    network: str


def start_api(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve the API on a port of 127.0.0.1 by `sam local start-api`, until it ends.

    Raises BuildError, SamError, and what `EmbeddedStack.start` raises.
    """
    if free_port(port) != port:
        raise SamError(f"port {port} of {HOST} is taken: stop what uses it, or choose another: make sam-api PORT=3001")
    with _prepared(root, say) as prepared:
        say(f"API       http://{HOST}:{port} (once SAM says that it is running)")
        _run_sam(root, prepared, ["start-api", "--host", HOST, "--port", str(port), "--warm-containers", "LAZY"])


def invoke(root: Path, function: str, event: Path, say: Callable[[str], None]) -> None:
    """Run a function once with a file's event, by `sam local invoke`. Raises as `start_api` does."""
    if not event.is_file():
        raise SamError(f"there is no file {event}: the samples are in events/")
    with _prepared(root, say) as prepared:
        _run_sam(root, prepared, ["invoke", function, "--event", str(event)])


@contextmanager
def _prepared(root: Path, say: Callable[[str], None]) -> Iterator[Prepared]:
    _require_docker()
    check_build(root, machine_architecture())
    with ExitStack() as cleanup:
        clients = _find(root, cleanup, say)
        variables = _variables(clients)
        published = _publisher(clients.endpoint_url)
        if published:
            network, endpoint_url = published
        else:
            network = ""
            reach = _Reach(cleanup)
            endpoint_url = reach.url(clients.endpoint_url)
            for own in variables.values():
                if own.get("OPENAI_BASE_URL"):
                    own["OPENAI_BASE_URL"] = reach.url(own["OPENAI_BASE_URL"])
        added = {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ACCESS_KEY_ID": clients.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": clients.credentials.secret_key,
            "OPENAI_API_KEY": Settings.load(root).openai_api_key or "no-key-needed",
        }
        for own in variables.values():
            own |= added
        yield Prepared(_template(root), _write_private(root / ".local" / "env.json", variables), network)


def _require_docker() -> None:
    if shutil.which("docker") is None:
        raise SamError(
            "`sam local` runs functions in Docker, and there is no `docker` on the PATH; `make dev` needs none"
        )
    if (found := _docker("version", "--format", "{{.Server.Version}}")).returncode:
        raise SamError(f"`sam local` runs functions in Docker, which does not answer: {found.stderr.strip()}")


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def _find(root: Path, cleanup: ExitStack, say: Callable[[str], None]) -> Clients:
    """Clients of the emulator: `make dev`'s, else what compose has up, else a new one."""
    if running := StackFile(root / ".local").read():
        say(f"Emulator  {running['endpoint_url']}, of `make dev`")
        return Clients(running["endpoint_url"], credentials=credentials_of(running))
    port = os.environ.get("LOCALSTACK_PORT") or COMPOSE_PORT
    compose = Clients(f"http://{HOST}:{port}", credentials=_published_credentials(port))
    with suppress(ClientError, BotoCoreError):
        compose.get("cloudformation").describe_stacks(StackName=STACK_NAME)
        say(f"Emulator  {compose.endpoint_url}")
        return compose
    stack = cleanup.enter_context(EmbeddedStack.start(Settings.load(root)))
    say(f"Emulator  {stack.endpoint_url}, for as long as this runs")
    return stack.clients


def _published_credentials(port: str | int) -> Credentials:
    """The keys of the embedded stack whose container publishes the port; else LocalStack's, which checks none."""
    for container in _docker("ps", "--filter", f"publish={port}", "--format", "{{.ID}}").stdout.split():
        with suppress(ValueError, KeyError, TypeError):
            return credentials_of(json.loads(_docker("exec", container, "cat", ".local/stack.json").stdout))
    return Credentials()


def _variables(clients: Clients) -> dict[str, dict[str, str]]:
    """Each function's variables by its logical id, as the emulator resolved them."""
    resources = clients.get("cloudformation").describe_stack_resources(StackName=STACK_NAME)["StackResources"]
    found = {}
    for resource in resources:
        if resource["ResourceType"] == "AWS::Lambda::Function":
            name = resource["PhysicalResourceId"]
            configuration = clients.get("lambda").get_function_configuration(FunctionName=name)
            found[resource["LogicalResourceId"]] = dict(configuration["Environment"]["Variables"])
    return found


def _publisher(endpoint_url: str) -> tuple[str, str] | None:
    """The network of the container that publishes this endpoint, and the endpoint within; None if none does."""
    port = urlsplit(endpoint_url).port
    form = '{{.Networks}} {{.Label "com.docker.compose.service"}} {{.Ports}}'
    lines = _docker("ps", "--filter", f"publish={port}", "--format", form).stdout.splitlines()
    for line in lines:
        network, service, ports = line.split(" ", 2)
        for one in ports.split(", "):
            outside, arrow, inside = one.partition("->")
            if arrow and outside.endswith(f":{port}"):
                return network, f"http://{service}:{inside.partition('/')[0]}"
    return None


class _Reach:
    """How a container reaches what listens on this machine's 127.0.0.1."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        form = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
        self._gateway = _docker("network", "inspect", "bridge", "--format", form).stdout.strip()

    def url(self, url: str) -> str:
        """The URL for a container; one of another machine stays."""
        parts = urlsplit(url)
        if parts.hostname not in (HOST, "localhost"):
            return url
        port = parts.port or 80
        try:
            # The gateway is an address of this machine where the engine runs on it; then only containers see it.
            there = f"{self._gateway}:{self._cleanup.enter_context(relay(self._gateway, port))}"
        except OSError:
            # Docker Desktop has the engine in a machine of its own, and this name for this one's ports.
            there = f"{_DESKTOP_HOST}:{port}"
        return parts._replace(netloc=there).geturl()


def _template(root: Path) -> Path:
    """The built template with the variables in it that SAM is to hand on, beside the built one: folders hold."""
    template = sam_template.read(root / BUILD / "template.yaml")
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    shared |= dict.fromkeys(_ADDED, "")
    return _write_private(root / BUILD / "local.json", template)


def _write_private(path: Path, content: Mapping[str, Any]) -> Path:
    """A file of JSON that only the user can read: keys are in it."""
    write_private(path, json.dumps(content, indent=2) + "\n")
    return path


def _run_sam(root: Path, prepared: Prepared, arguments: Sequence[str]) -> None:
    program = root / ".venv-sam" / "bin" / "sam"
    command = [str(program), "local", *arguments, "--template", str(prepared.template)]
    command += [
        "--env-vars",
        str(prepared.variables),
        "--parameter-overrides",
        f"Architecture={machine_architecture()}",
    ]
    if prepared.network:
        command += ["--docker-network", prepared.network]
    command += shlex.split(os.environ.get("SAM_LOCAL_ARGS", ""))
    environment = {name: value for name, value in os.environ.items() if name not in _CREDENTIALS}
    environment |= {
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    try:
        process = subprocess.Popen(command, env=environment)
    except FileNotFoundError as error:
        raise SamError(f"there is no {program}: `make sam` installs it") from error
    try:
        status = process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if status:
        raise SamError(f"sam has ended with status {status}; see its output above")
