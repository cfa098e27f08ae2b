"""What `jobchain smoke` says of a stack that it does not test any further. tests/e2e/test_incidents.py has the rest."""

import boto3
import pytest

from jobchain_cli.errors import CommandError
from jobchain_cli.smoke import Options, Smoke
from jobchain_cli.stack import Description, Stack


class Deployed(Stack):
    """A stack of this name, which has its status as well."""

    def describe(self) -> Description:
        return Description(self.name, {}, {})


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        ("UPDATE_IN_PROGRESS", "wait until its deployment has ended"),
        ("UPDATE_FAILED", "Then deploy again"),
        # CloudFormation updates none of these.
        ("ROLLBACK_COMPLETE", "Then run `sam delete --stack-name ROLLBACK_COMPLETE`, and deploy again"),
        ("CREATE_FAILED", "Then run `sam delete --stack-name CREATE_FAILED`, and deploy again"),
    ],
)
def test_a_deployment_that_has_not_ended_well_is_told_with_the_way_out(status: str, fix: str) -> None:
    stack = Deployed(boto3.Session(region_name="us-east-1"), None, "table", "queue", "letters", "sweeper", status)

    with pytest.raises(CommandError) as refused:
        Smoke(stack, Options(), print).run()

    assert f"the stack {status} is {status}" in str(refused.value)
    assert str(refused.value).endswith(fix)
