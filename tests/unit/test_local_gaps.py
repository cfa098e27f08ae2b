from local.gaps import any_method_is_dropped, number_parameters_stay_text, references, without_apis


def test_any_becomes_each_verb_but_leaves_the_verbs_that_are_there() -> None:
    paths = {"/{proxy+}": {"x-amazon-apigateway-any-method": "any", "get": "own"}}
    template = {"Resources": {"Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": {"paths": paths}}}}}

    any_method_is_dropped(template)

    assert paths["/{proxy+}"].pop("get") == "own"
    assert set(paths["/{proxy+}"]) == {"post", "put", "delete", "patch", "head", "options"}
    assert set(paths["/{proxy+}"].values()) == {"any"}


def test_a_maximum_concurrency_or_batch_size_that_is_a_parameter_becomes_its_number() -> None:
    properties = {"ScalingConfig": {"MaximumConcurrency": {"Ref": "Workers"}}, "BatchSize": {"Ref": "Workers"}}
    source = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties}
    template = {"Parameters": {"Workers": {"Type": "Number", "Default": "4"}}, "Resources": {"Source": source}}

    number_parameters_stay_text(template)

    assert properties == {"ScalingConfig": {"MaximumConcurrency": 4}, "BatchSize": 4}


def test_references_are_found_in_every_form() -> None:
    resource = {
        "DependsOn": ["First", "Second"],
        "Properties": [
            {"Ref": "Third"},
            {"Fn::GetAtt": ["Fourth", "Arn"]},
            {"Fn::GetAtt": "Fifth.Arn"},
            {"Fn::Sub": "arn:${Sixth}:${Seventh.Name}"},
            {"Fn::Sub": ["${Eighth}-${own}", {"own": {"Ref": "Ninth"}}]},
        ],
    }

    assert references(resource) >= {
        "First",
        "Second",
        "Third",
        "Fourth",
        "Fifth",
        "Sixth",
        "Seventh",
        "Eighth",
        "Ninth",
    }


def test_a_template_without_apis_has_nothing_left_that_refers_to_them() -> None:
    template = {
        "Resources": {
            "Table": {"Type": "AWS::DynamoDB::Table"},
            "Api": {"Type": "AWS::ApiGateway::RestApi"},
            "Permission": {"Type": "AWS::Lambda::Permission", "Properties": {"SourceArn": {"Fn::Sub": "${Api}/*"}}},
            "Later": {"Type": "AWS::Lambda::Alias", "DependsOn": "Permission"},
        },
        "Outputs": {"Url": {"Value": {"Fn::Sub": "https://${Api}"}}, "Name": {"Value": {"Ref": "Table"}}},
    }

    left = without_apis(template)

    assert set(left["Resources"]) == {"Table"}
    assert set(left["Outputs"]) == {"Name"}
