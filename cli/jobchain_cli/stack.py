"""Where the parts of a running Jobchain are."""

import os
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from jobchain.connection import UnusableSetting, check_aws_environment, is_loopback
from jobchain.errors import SettingsError
from jobchain_cli.local_stack import NoStackError, local_parts

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
class Stack:
    """Where a stack's parts are."""

    session: Any
    endpoint_url: str | None
    table: str
    queue_url: str
    dead_letter_url: str
    sweeper: str

    def client(self, service: str) -> Any:
        if self.endpoint_url is None:
            return self.session.client(service)
        # This machine needs no proxy and no certificates, whatever the environment says of them.
        return self.session.client(service, endpoint_url=self.endpoint_url, config=Config(proxies={}), verify=True)

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
        )

    @classmethod
    def on_aws(cls, name: str) -> "Stack":
        """The CloudFormation stack of this name, with the caller's own credentials.

        Raises NoStackError, SettingsError, ClientError.
        """
        session = aws_session()
        (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        try:
            parts = [outputs[part] for part in ("TableName", "QueueUrl", "DeadLetterUrl", "SweeperName")]
        except KeyError as missing:
            raise NoStackError(
                f"the stack {name} has no output {missing.args[0]}: name one that template.yaml was deployed to"
            ) from None
        return cls(session, None, *parts)
