"""Where the parts of a running Jobchain are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from jobchain.connection import UnusableSetting, check_aws_environment, is_loopback
from jobchain.errors import SettingsError
from jobchain_cli.local_stack import NoStackError, local_parts

LOCAL_NAME = "jobchain"
"""The stack of `make dev` in its emulator's CloudFormation."""

NO_REGION = "no AWS region is set: run `export AWS_DEFAULT_REGION=eu-central-1`, with your region, or `aws configure`"


def check_aws() -> None:
    """Checks proxies and certificate files of the environment for calls to AWS. Raises SettingsError."""
    if is_loopback(os.environ.get("AWS_ENDPOINT_URL", "")):
        return
    try:
        check_aws_environment(os.environ)
    except UnusableSetting as error:
        raise SettingsError(str(error)) from error


def aws_session() -> Any:
    """A boto3 session for AWS, with the caller's own credentials. Raises SettingsError."""
    check_aws()
    session = boto3.Session()
    if not session.region_name:
        raise SettingsError(NO_REGION)
    return session


@dataclass(frozen=True, slots=True)
class Description:
    """What CloudFormation says of a stack."""

    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]

    def output(self, name: str, stack: str) -> str:
        """The output of this name of the stack `stack`. Raises NoStackError."""
        try:
            return self.outputs[name]
        except KeyError:
            raise NoStackError(
                f"the stack {stack} has no output {name}: name one that template.yaml was deployed to with --stack"
            ) from None


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a stack's parts are. Without `endpoint_url` they are where boto3 finds AWS."""

    session: Any
    endpoint_url: str | None
    table: str
    queue_url: str
    dead_letter_url: str
    sweeper: str
    name: str = LOCAL_NAME
    flex_queue_url: str = ""

    def client(self, service: str) -> Any:
        """A boto3 client of a service, with the credentials that lead to the stack."""
        return _client(self.session, self.endpoint_url, service)

    def describe(self) -> Description:
        """The stack as CloudFormation has it now. Raises NoStackError, ClientError, BotoCoreError."""
        return _described(self.client("cloudformation"), self.name)

    def resources(self, kind: str) -> dict[str, str]:
        """The physical ids of the stack's resources of a type, such as `AWS::SQS::Queue`, by their logical ids.

        Raises ClientError, BotoCoreError.
        """
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == kind and resource.get("PhysicalResourceId")
        }

    def api_url(self, described: Description) -> str:
        """The URL of the stack's API: in an emulator on this machine, where that serves it. Raises NoStackError."""
        url = described.output("ApiUrl", self.name)
        endpoint = self.endpoint_url or os.environ.get("AWS_ENDPOINT_URL", "")
        return emulated_url(url, endpoint) if is_loopback(endpoint) else url

    @classmethod
    def find(cls, name: str | None) -> "Stack":
        """The stack of this name on AWS, without a name the local one.

        Raises NoStackError, SettingsError, ClientError.
        """
        return cls.on_aws(name) if name else cls.local()

    @classmethod
    def local(cls) -> "Stack":
        """The stack that `make dev` keeps up. Raises NoStackError."""
        parts = local_parts()
        session = boto3.Session(parts["access_key"], parts["secret_key"], region_name=parts["region"])
        return cls(
            session,
            parts["endpoint_url"],
            parts["table"],
            parts["queue_url"],
            parts["dead_letter_url"],
            parts["sweeper"],
            flex_queue_url=parts.get("flex_queue_url", ""),
        )

    @classmethod
    def on_aws(cls, name: str) -> "Stack":
        """The CloudFormation stack of this name, with the caller's own credentials.

        Raises NoStackError, SettingsError, ClientError.
        """
        session = aws_session()
        found = _described(session.client("cloudformation"), name)
        table, queue, letters, sweeper = (
            found.output(part, name) for part in ("TableName", "QueueUrl", "DeadLetterUrl", "SweeperName")
        )
        return cls(session, None, table, queue, letters, sweeper, name, found.outputs.get("FlexQueueUrl", ""))


def _client(session: Any, endpoint_url: str | None, service: str) -> Any:
    if endpoint_url is None:
        return session.client(service)
    # This machine needs no proxy and no certificates, whatever the environment says of them.
    return session.client(service, endpoint_url=endpoint_url, config=Config(proxies={}), verify=True)


def _described(client: Any, name: str) -> Description:
    try:
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        said = error.response["Error"]
        if said["Code"] == "ValidationError" and "does not exist" in said.get("Message", ""):
            region = client.meta.region_name
            raise NoStackError(
                f"there is no stack {name} in {region}: correct --stack, or set AWS_DEFAULT_REGION and AWS_PROFILE "
                "to where it was deployed"
            ) from None
        raise
    return Description(
        stack["StackStatus"],
        {parameter["ParameterKey"]: parameter.get("ParameterValue", "") for parameter in stack.get("Parameters", [])},
        {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])},
    )


def emulated_url(url: str, endpoint: str) -> str:
    """Where an emulator serves the REST API whose URL on AWS would be `url`.

    https://docs.localstack.cloud/aws/services/apigateway/
    """
    parts = urlsplit(url)
    api, stage = (parts.hostname or "").partition(".")[0], parts.path.strip("/")
    return f"{endpoint.rstrip('/')}/_aws/execute-api/{api}/{stage}"
