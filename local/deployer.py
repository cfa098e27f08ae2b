"""Deploys the project's own SAM template to the emulator. No resource is described a second time."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local import gaps, sam
from local.aws import Clients
from local.errors import LocalError

STACK_NAME = "jobchain"
_BUCKET = "jobchain-templates"
LIMIT = 60.0  # seconds; half a second is usual
_STANDS = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


class DeployError(LocalError):
    """The emulator refused the stack; says which resource and why."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack that stands: its outputs, and the API's URL here, which is empty without an API."""

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
        code: Callable[[sam.Template], None] | None = None,
        limit: float = LIMIT,
    ) -> None:
        """With `reload` the functions look for changed source before each call.

        `code` gives the translated template's functions their code in place of the source. `limit` is how many seconds
        a deployment may take.
        """
        self._clients = clients
        self._path = template
        self._code = code or (lambda template: sam.run_from_source(template, self._path.parent, reload=reload))
        self._limit = limit
        self._deployed: sam.Template | None = None

    def deploy(self, parameters: Mapping[str, str]) -> Deployment:
        """Deploy the template as it is now; items and messages that are there stay.

        Raises TemplateError for a template that can't be translated, DeployError for one that is refused.
        """
        return self._deploy(self._expand(parameters))

    def deploy_over(self, parameters: Mapping[str, str], say: Callable[[str], None]) -> Deployment:
        """The same where another process may have deployed before, wholly or in part.

        What stands already is left alone. What is left of a deployment that did not end well is removed first.
        """
        template = self._expand(parameters)
        status = self._settled_status(say)
        if status in _STANDS:
            self._deployed = self._standing_template()
        elif status == "UPDATE_ROLLBACK_COMPLETE":
            say(f"The last update of the stack {STACK_NAME} was taken back: trying again.")
            self._deployed = {"Resources": {}}
        elif status is not None:
            say(f"The stack {STACK_NAME} is {status}, left over from a deployment that did not end: removing it.")
            self._remove()
        say("Already up to date." if template == self._deployed else f"Deploying the stack {STACK_NAME} …")
        return self._deploy(template)

    def _deploy(self, template: sam.Template) -> Deployment:
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

    def _expand(self, parameters: Mapping[str, str]) -> sam.Template:
        template = sam.read(self._path)
        sam.set_parameters(template, parameters)
        template = sam.translate(template, self._clients.session)
        self._code(template)
        for close in gaps.IN_TEMPLATE:
            close(template)
        return template

    def _upload(self, template: sam.Template) -> str:
        """Where CloudFormation finds the template: in the call itself it takes 51,200 bytes at most."""
        s3 = self._clients.get("s3")
        s3.create_bucket(Bucket=_BUCKET)
        s3.put_object(Bucket=_BUCKET, Key="template.json", Body=json.dumps(template).encode())
        return f"{self._clients.endpoint_url}/{_BUCKET}/template.json"

    def _apply(self, operation: str, template: sam.Template) -> None:
        cloudformation = self._clients.get("cloudformation")
        try:
            getattr(cloudformation, operation)(
                StackName=STACK_NAME,
                TemplateURL=self._upload(template),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
        except ClientError as error:
            raise DeployError(error.response["Error"]["Message"]) from error
        if (status := self._wait()) not in _STANDS:
            raise DeployError(f"{status}: {self._failures()}")
        self._deployed = template

    def _wait(self) -> str | None:
        """The stack's status once nothing is in progress; None where there is no stack. Raises DeployError."""
        deadline = time.monotonic() + self._limit
        while (status := self._status()) and status.endswith("IN_PROGRESS"):
            if time.monotonic() > deadline:
                raise DeployError(f"the stack is still {status} after {self._limit:g} s")
            time.sleep(0.01)
        return status

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
        if (status := self._status()) and status.endswith("IN_PROGRESS"):
            say(f"The stack {STACK_NAME} is {status}: waiting up to {self._limit:g} s for it.")
            try:
                return self._wait()
            except DeployError:
                return self._status()
        return status

    def _remove(self) -> None:
        self._clients.get("cloudformation").delete_stack(StackName=STACK_NAME)
        if status := self._wait():
            raise DeployError(f"the stack {STACK_NAME} can't be removed, it is {status}: {self._failures()}")

    def _standing_template(self) -> sam.Template:
        body = self._clients.get("cloudformation").get_template(StackName=STACK_NAME)["TemplateBody"]
        return dict(json.loads(body) if isinstance(body, str) else body)

    def _stack(self) -> Any:
        return self._clients.get("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]

    def _failures(self) -> str:
        events = self._clients.get("cloudformation").describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        return "; ".join(
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
            for event in events
            if event["ResourceStatus"].endswith("_FAILED")
        )

    def _outputs(self) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in self._stack().get("Outputs", [])}

    def _physical_ids(self) -> dict[str, str]:
        resources = self._clients.get("cloudformation").describe_stack_resources(StackName=STACK_NAME)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources["StackResources"]
        }

    def _api_url(self, template: sam.Template, ids: Mapping[str, str]) -> str:
        for name, stage in sam.of_type(template, "AWS::ApiGateway::Stage").items():
            api = ids[stage["Properties"]["RestApiId"]["Ref"]]
            return f"{self._clients.endpoint_url}/restapis/{api}/{ids[name]}/_user_request_"
        return ""


def _apis(template: sam.Template) -> dict[str, Any]:
    return {name: api["Properties"] for name, api in sam.of_type(template, "AWS::ApiGateway::RestApi").items()}
