"""The whole local stack: the emulator, the project's template deployed to it, and a model to ask."""

import contextlib
import http.client
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import jobchain
from local import chain_packages, offline_model, sam_template
from local.chain_list import PackagesError, chain_file
from local.chain_packages import Prepared
from local.deployer import Deployer, Deployment
from local.emulator import Emulator, free_port
from local.emulator_clients import Clients, Credentials
from local.live_packages import LivePackages
from local.settings import Settings

TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"
WORKER_CONCURRENCY = "4"  # each worker is a process
# What a browser asks for when it opens the dashboard: the page, then three things of the API at once. `/health` stands
# for two of them, as it needs no API key; `/jobs` brings up the authorizer too, where there is one.
_ASKED_FIRST = ("/queue", "/health", "/health", "/jobs?limit=1")
_WARM_UP_LIMIT = 30.0  # seconds

# The OpenAI client insists on a key; the offline model and most local servers do not.
PLACEHOLDER_KEY = "no-key-needed"


class Packages:
    """The packages whose chains a stack runs from source: those that a file names, none where there is no such file."""

    def __init__(self, file: Path, folder: Path, *, live: bool = False) -> None:
        """In the folder is what is installed and written; it is made again at each deployment.

        With `live` functions run copies of the modules, which `take_changes` brings up to date.
        """
        self.file = file
        self._folder = folder
        self._prepared: Prepared | None = None
        self._live = LivePackages(folder.with_name(f"{folder.name}.live")) if live else None

    def prepare(self, root: Path) -> Prepared | None:
        """Makes the folder. Raises PackagesError, and then leaves the folder of before to the stack that runs."""
        prepared = None
        new = self._folder.with_name(f"{self._folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            if self.file.is_file():
                made = chain_packages.prepare(self.file, new, chain_packages.local_installer(root))
                prepared = replace(made, folder=self._folder)
            shutil.rmtree(self._folder, ignore_errors=True)
            if prepared:
                new.rename(self._folder)
            if prepared and self._live:
                prepared = replace(prepared, modules=self._live.put(prepared))
        finally:
            shutil.rmtree(new, ignore_errors=True)
        self._prepared = prepared
        return prepared

    @property
    def watched(self) -> Sequence[Path]:
        """The files that say what belongs to the deployment."""
        return self._prepared.watched if self._prepared else (self.file,)

    def faults(self) -> Mapping[str, str]:
        """Why chains can't be used, by their names. Takes half a second."""
        if self._prepared is None:
            return {}
        found = self._faults(self._prepared.paths)
        return {chain: self._live.originals(fault) if self._live else fault for chain, fault in found.items()}

    def take_changes(self) -> Sequence[str]:
        """Takes over changed packages that can be used; says what it did, and what is wrong with the others."""
        if self._live is None:
            return ()
        try:
            return self._live.take_changes(self._faults)
        except PackagesError as error:
            return [self._live.originals(str(error))]

    def _faults(self, folders: Sequence[str]) -> Mapping[str, str]:
        """Why chains can't be used, with the packages' modules in these folders."""
        # The process reads no PYTHONPATH, by which an image finds the layer.
        layer = str(Path(jobchain.__path__[0]).parent)
        return chain_packages.faults([str(self._folder), *folders, layer], sys.executable)


@dataclass(frozen=True, slots=True)
class EmbeddedStack:
    """A stack that runs. `llm_base_url` is empty if the model is OpenAI's own."""

    emulator: Emulator
    clients: Clients
    llm_base_url: str
    _template: Path
    _deployer: Deployer = field(repr=False)
    _parameters: Mapping[str, str] = field(repr=False)
    _deployment: Deployment
    packages: Packages

    @property
    def api_url(self) -> str:
        """Where the paths of the HTTP contract begin: `f"{api_url}/jobs"`."""
        return self._deployment.api_url

    @property
    def endpoint_url(self) -> str:
        return self.clients.endpoint_url

    @property
    def region(self) -> str:
        return self.clients.region

    @property
    def credentials(self) -> Credentials:
        """What requests to the emulator's AWS services are signed with."""
        return self.clients.credentials

    @property
    def model(self) -> str:
        """The model that is asked for steps that name none; empty where the template has no such parameter."""
        declared = sam_template.read(self._template).get("Parameters") or {}
        default = declared.get("OpenAIModel", {}).get("Default", "")
        return self._parameters.get("OpenAIModel") or str(default)

    @property
    def table(self) -> str:
        return self._deployment.outputs["TableName"]

    @property
    def queue_url(self) -> str:
        return self._deployment.outputs["QueueUrl"]

    @property
    def flex_queue_url(self) -> str:
        """The queue of flex jobs; empty where the template has none."""
        return self._deployment.outputs.get("FlexQueueUrl", "")

    @property
    def dead_letter_url(self) -> str:
        return self._deployment.outputs["DeadLetterUrl"]

    @property
    def sweeper(self) -> str:
        """The name of the sweeper function; empty where the template has none."""
        return self._deployment.outputs.get("SweeperName", "")

    def client(self, service: str) -> Any:
        """A boto3 client of a service of the emulator."""
        return self.clients.get(service)

    def warm_up(self) -> list[Thread]:
        """Start the functions behind the dashboard in the background, so that the first visitor need not wait for them.

        Returns the threads that do it.
        """
        threads = [Thread(target=_ask, args=(f"{self.api_url}{path}",), daemon=True) for path in _ASKED_FIRST]
        for thread in threads:
            thread.start()
        return threads

    def redeploy(self) -> "EmbeddedStack":
        """Deploy the template and the packages as they are now, keeping all data.

        Raises TemplateError, DeployError, PackagesError.
        """
        return replace(self, _deployment=self._deployer.deploy(self._parameters))

    @classmethod
    @contextmanager
    def start(
        cls,
        settings: Settings | None = None,
        *,
        template: Path = TEMPLATE,
        parameters: Mapping[str, str] | None = None,
        folder: Path | None = None,
        port: int = 0,
        reload: bool = False,
        live: bool = False,
        persist: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> Iterator["EmbeddedStack"]:
        """Start a stack, and stop it at the end with all that belongs to it.

        Without `settings` nothing is read from the environment and the offline model answers, so that a test
        can't spend money. `parameters` override the template's. `folder` keeps `emulator.log`; without one it
        goes too. `port` 0 takes a free one. `reload` looks for changed source before each call of a function.
        `live` runs packages of chains from copies, which `packages.take_changes()` brings up to date.
        `persist` keeps the state over `emulator.stop()` and `emulator.launch()`. `say` is told what takes a while.
        Raises SettingsError, EmulatorError, TemplateError, DeployError, PackagesError.
        """
        settings = settings or Settings()
        settings.check_environment(os.environ)
        with ExitStack() as cleanup:
            if folder is None:
                folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="jobchain-")))
            emulator = Emulator(
                folder,
                port or free_port(),
                _environment(settings),
                persist=persist,
                bind_host=settings.bind_host,
                hosts=settings.hosts,
            )
            cleanup.callback(emulator.stop)
            say("Starting an AWS emulator on this machine ...")
            emulator.launch()
            base_url = settings.openai_base_url
            if settings.offline:
                base_url = cleanup.enter_context(offline_model.running())
            chosen = {**offered(settings, base_url, template), **(parameters or {})}
            clients = Clients(emulator.url, credentials=emulator.credentials)
            for made in ("chains", "chains.live"):
                cleanup.callback(shutil.rmtree, folder / made, ignore_errors=True)
            packages = Packages(chain_file(template.parent, settings.chains), folder / "chains", live=live)

            def code(translated: sam_template.Template) -> None:
                prepared = packages.prepare(template.parent)
                sam_template.run_from_source(translated, template.parent, reload=reload, packages=prepared)

            deployer = Deployer(clients, template, code=code)
            emulator.wait()
            say(f"Deploying {template.name} to it ...")
            yield cls(emulator, clients, base_url, template, deployer, chosen, deployer.deploy(chosen), packages)


def _ask(url: str) -> None:
    """GETs a URL of the stack. Errors are ignored: the next caller sees them."""
    parts = urlsplit(url)
    # http.client heeds no proxy setting.
    connection = http.client.HTTPConnection(parts.netloc, timeout=_WARM_UP_LIMIT)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", f"{parts.path}?{parts.query}")
        connection.getresponse().read()


def _environment(settings: Settings) -> dict[str, str]:
    """What the functions get from outside the template: the key must not become a parameter that is shown."""
    environment = {"OPENAI_API_KEY": settings.openai_api_key or PLACEHOLDER_KEY}
    if settings.lambda_endpoint_url:
        environment["AWS_ENDPOINT_URL"] = settings.lambda_endpoint_url
    return environment


def translated() -> str:
    """The template after SAM's transform, as JSON."""
    # The translator calls nothing: it asks the session for its region alone.
    template = sam_template.translate(sam_template.read(TEMPLATE), Clients("http://127.0.0.1").session)
    return json.dumps(template, indent=2)


def offered(settings: Settings, base_url: str, template: Path) -> dict[str, str]:
    """Local values for those of the parameters that the template declares."""
    values = {
        "OpenAIBaseUrl": base_url,
        # What is asked is what answers, also where nothing has been answered yet.
        "OpenAIModel": settings.openai_model or (offline_model.MODEL if settings.offline else ""),
        "OpenAIApi": settings.openai_api,
        "ModelProvider": settings.model_provider,
        "WorkerConcurrency": WORKER_CONCURRENCY,
        "AuthMode": settings.auth_mode or "none",
        "Webhooks": "on",
        **settings.parameters,
    }
    declared = sam_template.read(template).get("Parameters") or {}
    return {name: value for name, value in values.items() if value and name in declared}
