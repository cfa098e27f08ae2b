"""Deploys the project's own SAM template to the emulator. No resource is described a second time."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local import gaps, sam_template
from local.emulator_clients import Clients
from local.errors import LocalError
from local.stack_events import Operation, never_completed, operations

STACK_NAME = "jobchain"
_BUCKET = "jobchain-templates"
LIMIT = 60.0  # seconds; half a second is usual
_STANDS = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# In these CloudFormation takes another update. UPDATE_FAILED is of one that was not rolled back.
_UPDATABLE = (*_STANDS, "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED")
# What CloudFormation says of an update to the template that the stack has.
_NO_CHANGE = "No updates are to be performed."
# The stack of a change set that was not executed: it waits for a person, and has no resources.
_REVIEW = "REVIEW_IN_PROGRESS"
_MOST_PAUSE = 1.0  # seconds between two requests for a stack's status
# LocalStack has this status from the first resource that it can't delete until it has tried all others. Seconds.
_PASSING = "DELETE_FAILED"
_PASSES_WITHIN = 10.0

_KEPT = "The stack's table and its jobs are kept."
START_AFRESH = (
    "To start again, without those jobs: docker compose down --volumes, then docker compose up --build --wait "
    "(an emulator of your own: restart it, and deploy again)."
)
_GONE = (
    f"the stack {STACK_NAME} was deleted during its {{}}, by another process. Deploy again, when no other process uses "
    "the emulator: docker compose up --build --wait (an emulator of your own: make deploy-local)"
)


class DeployError(LocalError):
    """The emulator refused the stack; says which resource and why."""


class StackGone(DeployError):
    """The stack was deleted while it was deployed; says what to type."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stack: its outputs, and the API's URL here, which is empty without an API."""

    outputs: Mapping[str, str]
    api_url: str


class Deployer:
    """Creates the stack of one emulator, and updates it in place."""

    def __init__(
        self,
        clients: Clients,
        template: Path,
        *,
        reload: bool = False,
        code: Callable[[sam_template.Template], None] | None = None,
        limit: float = LIMIT,
    ) -> None:
        """With `reload` the functions check for changed source before each call.

        `code` gives the translated template's functions their code in place of the source. `limit` is how many seconds
        a deployment may take.
        """
        self._clients = clients
        self._path = template
        self._code = code or (lambda template: sam_template.run_from_source(template, self._path.parent, reload=reload))
        self._limit = limit
        self._deployed: sam_template.Template | None = None

    def deploy(self, parameters: Mapping[str, str]) -> Deployment:
        """Deploy the template as it is now; items and messages that are there stay.

        Raises TemplateError for a template that can't be translated, DeployError for one that is refused.
        """
        return self._deploy(self._expand(parameters))

    def deploy_over(self, parameters: Mapping[str, str], say: Callable[[str], None]) -> Deployment:
        """The same where another process may have deployed before, wholly or in part.

        A stack that is there is updated, so that its table and jobs stay; after a failed update, too. It is removed
        only if its creation failed, as it can hold no job then. Raises DeployError, which says what to
        type, for a stack that can neither be updated nor be removed without a loss.
        """
        template = self._expand(parameters)
        self._deployed = self._found(say)
        say("Already up to date." if template == self._deployed else f"Deploying the stack {STACK_NAME} …")
        updates = self._deployed is not None
        try:
            return self._deploy(template)
        except StackGone:
            raise
        except DeployError as error:
            raise DeployError(f"{error}\n{self._advice(updates)}") from error

    def _found(self, say: Callable[[str], None]) -> sam_template.Template | None:
        """What is deployed already: None for nothing. Raises DeployError where nothing can be deployed over it."""
        status = self._settled_status(say)
        if status is None:
            return None
        if status == _REVIEW:
            raise DeployError(
                f"the stack {STACK_NAME} is {_REVIEW}: its change set was not executed, and it has no resources. "
                f"Delete it, and deploy again: aws --endpoint-url {self._clients.endpoint_url} cloudformation "
                f"delete-stack --stack-name {STACK_NAME}"
            )
        history = self._history()
        if never_completed(history) or status == "CREATE_IN_PROGRESS":
            say(f"The creation of the stack {STACK_NAME} failed ({status}): removing what it left.")
            self._remove()
            return None
        last = self._last_operation()
        if _is_not_rolled_back(status, last):
            raise DeployError(
                f"the last {last.kind} of the stack {STACK_NAME} failed, and was not rolled back: {last.cause}\n"
                f"The emulator can't update the stack after that. {_KEPT} {START_AFRESH}"
            )
        if status not in _UPDATABLE:
            raise DeployError(
                f"the stack {STACK_NAME} is {status}, in which it can't be updated.\n{_KEPT} {START_AFRESH}"
            )
        if status in _STANDS:
            return self._deployed_template()
        say(f"The last update of the stack {STACK_NAME} failed, and is tried again: {last.cause}")
        # It is unknown which of the two templates the emulator has now.
        return {"Resources": {}}

    def _advice(self, updates: bool) -> str:
        """What to do about a deployment that failed."""
        if not updates:
            return "Correct the cause and deploy again: what is left of this attempt is removed first."
        if _is_not_rolled_back(self._status(), self._last_operation()):
            return f"It was not rolled back, and the emulator can't update the stack after that. {_KEPT} {START_AFRESH}"
        return f"{_KEPT} Correct the cause, and deploy again."

    def _deploy(self, template: sam_template.Template) -> Deployment:
        if self._deployed is None:
            self._apply("create_stack", template)
        elif template != self._deployed:
            if _apis(self._deployed) not in ({}, _apis(template)):
                self._apply("update_stack", gaps.without_apis(self._deployed))
            self._apply("update_stack", template)
        ids = self._physical_ids()
        for close in gaps.AFTER_DEPLOY:
            close(self._clients, template, ids)
        return Deployment(self._outputs(), self._api_url(template, ids))

    def _expand(self, parameters: Mapping[str, str]) -> sam_template.Template:
        template = sam_template.read(self._path)
        sam_template.set_parameters(template, parameters)
        # They are for a network that others reach; an emulator is reached from this machine alone.
        template.pop("Rules", None)
        template = sam_template.translate(template, self._clients.session)
        self._code(template)
        for close in gaps.IN_TEMPLATE:
            close(template)
        return template

    def _upload(self, template: sam_template.Template) -> str:
        """Where CloudFormation finds the template: in the call itself it takes 51,200 bytes at most."""
        s3 = self._clients.get("s3")
        s3.create_bucket(Bucket=_BUCKET)
        s3.put_object(Bucket=_BUCKET, Key="template.json", Body=json.dumps(template).encode())
        return f"{self._clients.endpoint_url}/{_BUCKET}/template.json"

    def _apply(self, operation: str, template: sam_template.Template) -> None:
        cloudformation = self._clients.get("cloudformation")
        try:
            getattr(cloudformation, operation)(
                StackName=STACK_NAME,
                TemplateURL=self._upload(template),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
        except ClientError as error:
            if error.response["Error"]["Message"] == _NO_CHANGE:
                # After an update that failed and was rolled back, the deployed template may be this one.
                self._deployed = template
                return
            self._remove_unbegun(error)
            raise DeployError(error.response["Error"]["Message"]) from error
        status = self._wait()
        if status is None:
            raise StackGone(_GONE.format("creation" if operation == "create_stack" else "update"))
        last = self._last_operation()
        if status not in _STANDS or last.failed:
            raise DeployError(f"the {last.kind} of the stack {STACK_NAME} failed (now {status}): {last.cause}")
        self._deployed = template

    def _wait(self) -> str | None:
        """The stack's status once nothing is in progress; None where there is no stack. Raises DeployError."""
        started = since = time.monotonic()
        before = None
        while status := self._status():
            now = time.monotonic()
            if status != before:
                before, since = status, now
            if not status.endswith("IN_PROGRESS") and (status != _PASSING or now - since > _PASSES_WITHIN):
                return status
            if now - started > self._limit:
                raise DeployError(f"the stack {STACK_NAME} is still {status} after {self._limit:g} s")
            time.sleep(min(_MOST_PAUSE, 0.01 + (now - started) / 10))
        return None

    def _status(self) -> str | None:
        try:
            status = str(self._stack()["StackStatus"])
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return None
            raise
        return None if status == "DELETE_COMPLETE" else status

    def _settled_status(self, say: Callable[[str], None]) -> str | None:
        """The same, waited for a while; what is in progress for longer has been interrupted."""
        if (status := self._status()) and status.endswith("IN_PROGRESS") and status != _REVIEW:
            say(f"The stack {STACK_NAME} is {status}: waiting up to {self._limit:g} s for it.")
            try:
                return self._wait()
            except DeployError:
                return self._status()
        return status

    def _remove_unbegun(self, error: ClientError) -> None:
        """Where CreateStack refuses a template, LocalStack leaves a stack that stays CREATE_IN_PROGRESS."""
        exists = error.response["Error"]["Code"] == "AlreadyExistsException"
        if not exists and self._status() == "CREATE_IN_PROGRESS" and not self._history():
            self._remove()

    def _remove(self) -> None:
        self._clients.get("cloudformation").delete_stack(StackName=STACK_NAME)
        if status := self._wait():
            cause = self._last_operation().cause
            raise DeployError(f"the stack {STACK_NAME} can't be removed, it is {status}: {cause}\n{START_AFRESH}")

    def _deployed_template(self) -> sam_template.Template:
        body = self._clients.get("cloudformation").get_template(StackName=STACK_NAME)["TemplateBody"]
        return dict(json.loads(body) if isinstance(body, str) else body)

    def _stack(self) -> Any:
        return self._clients.get("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]

    def _history(self) -> list[Operation]:
        pages = self._clients.get("cloudformation").get_paginator("describe_stack_events")
        return operations(event for page in pages.paginate(StackName=STACK_NAME) for event in page["StackEvents"])

    def _last_operation(self) -> Operation:
        return (self._history() or [Operation("creation")])[-1]

    def _outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self._stack().get("Outputs", [])}

    def _physical_ids(self) -> dict[str, str]:
        resources = self._clients.get("cloudformation").describe_stack_resources(StackName=STACK_NAME)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources["StackResources"]
        }

    def _api_url(self, template: sam_template.Template, ids: Mapping[str, str]) -> str:
        for name, stage in sam_template.of_type(template, "AWS::ApiGateway::Stage").items():
            api = ids[stage["Properties"]["RestApiId"]["Ref"]]
            return f"{self._clients.endpoint_url}/_aws/execute-api/{api}/{ids[name]}"
        return ""


def _is_not_rolled_back(status: str | None, last: Operation) -> bool:
    """Whether an update failed and was left half done. LocalStack leaves it so, and fails at each update after it."""
    return last.failed and status in _STANDS


def _apis(template: sam_template.Template) -> dict[str, Any]:
    return {name: api["Properties"] for name, api in sam_template.of_type(template, "AWS::ApiGateway::RestApi").items()}
