"""`python -m jobchain_cli redrive|sweep`: for the stack of `make dev`, or with `--stack` for one on AWS."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from jobchain_cli.redrive import RedriveError, redrive

LOCAL_STACK = Path(".local/stack.json")


class NoStackError(Exception):
    """There is no stack to talk to; says how to name one."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a stack's parts are."""

    session: Any
    endpoint_url: str | None
    queue_url: str
    dead_letter_url: str
    sweeper: str

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.endpoint_url)

    @classmethod
    def local(cls) -> "Stack":
        """The stack that `make dev` keeps up. Raises NoStackError."""
        try:
            parts = json.loads(LOCAL_STACK.read_text())
        except FileNotFoundError:
            raise NoStackError("no local stack is up: run `make dev`, or name one on AWS with --stack") from None
        session = boto3.Session("test", "test", region_name=parts["region"])
        return cls(session, parts["endpoint_url"], parts["queue_url"], parts["dead_letter_url"], parts["sweeper"])

    @classmethod
    def on_aws(cls, name: str) -> "Stack":
        """The CloudFormation stack of this name, with the caller's own credentials. Raises ClientError."""
        session = boto3.Session()
        (stack,) = session.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        return cls(session, None, outputs["QueueUrl"], outputs["DeadLetterUrl"], outputs["SweeperName"])


def main() -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="jobchain_cli", description=__doc__)
    parser.add_argument("command", choices=["redrive", "sweep"])
    parser.add_argument("--stack", help="the CloudFormation stack; without it the stack of `make dev`")
    arguments = parser.parse_args()
    try:
        stack = Stack.on_aws(arguments.stack) if arguments.stack else Stack.local()
        if arguments.command == "redrive":
            moved = redrive(stack.client("sqs"), stack.dead_letter_url, stack.queue_url)
            print(f"{moved} dead letters are back in the queue.")
        else:
            answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)
            if "FunctionError" in answer:
                raise RedriveError("the sweep failed: see the sweeper's log")
            print(answer["Payload"].read().decode())
    except (NoStackError, RedriveError, ClientError, BotoCoreError) as error:
        print(f"jobchain: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
