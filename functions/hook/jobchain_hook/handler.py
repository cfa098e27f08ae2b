"""The composition root of the hook functions."""

from jobchain.startup import started

# isort: split
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.session import get_session

from jobchain.observability import create_logger
from jobchain.settings import load_settings
from jobchain_hook.checks import CHECKS, FunctionFailed, fault_of


@dataclass(frozen=True, slots=True)
class HookSettings:
    """What a hook function reads from its environment: its check, and the functions with their new versions."""

    check: Literal["job", "health"]
    versions: str


# A version's first start, and the longest that its answer may take. A second call would be a second check.
_AWS = Config(connect_timeout=2, read_timeout=50, retries={"mode": "standard", "total_max_attempts": 1})

settings = load_settings(HookSettings, os.environ)
logger = create_logger()
# Of botocore's own models: those that start faster have only the services that jobs need.
session = get_session()
functions: Any = session.create_client("lambda", config=_AWS)
deployments: Any = session.create_client("codedeploy", config=_AWS)
started()


def invoke(version: str, event: Mapping[str, Any]) -> Any:
    """The answer of a function's version. Raises FunctionFailed."""
    answer = functions.invoke(FunctionName=version, Payload=json.dumps(event).encode())
    content = answer["Payload"].read()
    if "FunctionError" in answer:
        raise FunctionFailed(f"it failed: {answer['FunctionError']}")
    return json.loads(content)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Checks the new versions, and tells CodeDeploy whether they may get traffic. Answers with the same.

    https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html
    """
    logger.append_keys(request_id=context.aws_request_id)
    faults = {}
    for version in settings.versions.split(","):
        if fault := fault_of(version, CHECKS[settings.check], invoke):
            faults[version] = fault
            logger.error("the new version gets no traffic", function=version, reason=fault)
        else:
            logger.info("the new version works", function=version)
    status = "Failed" if faults else "Succeeded"
    deployments.put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )
    return {"status": status, "faults": faults}
