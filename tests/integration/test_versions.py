"""Published versions: what the local stack does without, and a deployment to AWS stands on."""

import pytest

from jobchain_offline.answering import MODEL
from local import gaps
from local.stack import EmbeddedStack


def live(stack: EmbeddedStack) -> dict[str, tuple[str, str | None]]:
    """The version that each function's events go to, and the model that it asks. Hooks have no versions."""
    client = stack.client("lambda")
    found = {}
    for function in client.list_functions()["Functions"]:
        name = function["FunctionName"]
        if name.startswith("CodeDeployHook_"):
            continue
        settings = client.get_function_configuration(FunctionName=name, Qualifier="live")
        model = settings["Environment"]["Variables"].get("OPENAI_MODEL")
        version = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        found[name.split("-")[1]] = (version, model)
    return found


def test_a_changed_parameter_reaches_the_versions_that_it_concerns_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a stack whose functions have versions, as on AWS
    closed = tuple(gap for gap in gaps.IN_TEMPLATE if gap is not gaps.source_has_no_versions)
    monkeypatch.setattr(gaps, "IN_TEMPLATE", closed)
    with EmbeddedStack.start() as stack:
        before = live(stack)

        # when the model's name alone changes
        stack._deployer.deploy({**stack._parameters, "OpenAIModel": "another"})

        # then the events of those that depend on it go to new versions, and the others have made none
        concerned = ("ApiFunction", "FlexWorkerFunction", "WebFunction", "WorkerFunction")
        assert set(before.values()) == {("1", None), ("1", MODEL)}
        assert live(stack) == {**before, **dict.fromkeys(concerned, ("2", "another"))}

        # and the alarms that put the last version back look at these
        alarms = stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
        watched = {
            alarm["AlarmName"]: dimension["Value"]
            for alarm in alarms
            for dimension in alarm["Dimensions"]
            if dimension["Name"] == "ExecutedVersion"
        }
        assert watched == {"jobchain-api-2": "2", "jobchain-flex-worker-2": "2", "jobchain-worker-2": "2"}
