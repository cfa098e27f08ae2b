"""Values for the template's parameters are checked on the local stack as CloudFormation checks them."""

import pytest

from local.sam_template import Template, TemplateError, set_parameters

DECLARED: Template = {
    "Parameters": {
        "BatchSize": {"Type": "Number", "Default": 10, "MinValue": 1, "MaxValue": 10},
        "AlarmSeconds": {"Type": "Number", "Default": 60, "MinValue": 60},
        "OpenAIModel": {"Type": "String", "Default": "gpt-6-luna"},
    }
}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BatchSize", "11", "the parameter BatchSize is 11: set it to a number from 1 to 10"),
        ("BatchSize", "0", "the parameter BatchSize is 0: set it to a number from 1 to 10"),
        ("BatchSize", "nan", "the parameter BatchSize is nan: set it to a number from 1 to 10"),
        ("BatchSize", "many", "the parameter BatchSize is 'many': set it to a number"),
        ("AlarmSeconds", "59", "the parameter AlarmSeconds is 59: set it to 60 or more"),
        ("Batches", "1", "the template has no parameter Batches"),
    ],
)
def test_a_value_that_the_template_does_not_allow_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(TemplateError, match=f"^{says}$"):
        set_parameters(DECLARED, {name: value})


def test_the_others_become_the_defaults() -> None:
    template: Template = {"Parameters": {name: dict(given) for name, given in DECLARED["Parameters"].items()}}

    set_parameters(template, {"BatchSize": "1", "OpenAIModel": "another"})

    assert template["Parameters"]["BatchSize"]["Default"] == "1"
    assert template["Parameters"]["OpenAIModel"]["Default"] == "another"
