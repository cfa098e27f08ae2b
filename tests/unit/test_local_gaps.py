from local.gaps import (
    alarms_take_no_expressions,
    any_method_is_dropped,
    code_deploy_is_missing,
    number_parameters_stay_text,
    numbers_find_nothing_in_maps,
    references,
    retain_except_on_create_is_unknown,
    secrets_have_no_policies,
    source_has_no_versions,
    without_apis,
)


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


def test_a_number_parameter_that_is_a_key_of_a_map_becomes_its_text() -> None:
    by_size = {"Fn::FindInMap": ["BySize", {"Ref": "Size"}, "Wait"]}
    by_text = {"Fn::FindInMap": ["ByName", {"Ref": "Name"}, "Wait"]}
    template = {
        "Parameters": {"Size": {"Type": "Number", "Default": 300}, "Name": {"Type": "String", "Default": "x"}},
        "Conditions": {"Long": {"Fn::Equals": [by_size, "60"]}},
        "Resources": {
            "Queue": {"Properties": {"VisibilityTimeout": by_size, "Tags": [by_text], "Size": {"Ref": "Size"}}}
        },
        "Outputs": {"Wait": {"Value": by_size}},
    }

    numbers_find_nothing_in_maps(template)

    found = {"Fn::FindInMap": ["BySize", "300", "Wait"]}
    assert template["Conditions"] == {"Long": {"Fn::Equals": [found, "60"]}}
    assert template["Resources"] == {
        "Queue": {"Properties": {"VisibilityTimeout": found, "Tags": [by_text], "Size": {"Ref": "Size"}}}
    }
    assert template["Outputs"] == {"Wait": {"Value": found}}


def test_what_outlives_its_stack_does_so_by_the_plain_policy() -> None:
    template = {
        "Resources": {"Table": {"DeletionPolicy": "RetainExceptOnCreate"}, "Queue": {"DeletionPolicy": "Delete"}}
    }

    retain_except_on_create_is_unknown(template)

    assert template["Resources"] == {"Table": {"DeletionPolicy": "Retain"}, "Queue": {"DeletionPolicy": "Delete"}}


def test_an_alias_moves_without_code_deploy() -> None:
    alias = {"Type": "AWS::Lambda::Alias", "UpdatePolicy": {"CodeDeployLambdaAliasUpdate": {}}, "Properties": {}}
    template = {
        "Resources": {
            "Alias": alias,
            "Application": {"Type": "AWS::CodeDeploy::Application"},
            "Group": {"Type": "AWS::CodeDeploy::DeploymentGroup"},
        }
    }

    code_deploy_is_missing(template)

    assert template["Resources"] == {"Alias": {"Type": "AWS::Lambda::Alias", "Properties": {}}}


def test_a_permission_that_names_what_is_gone_of_code_deploy_can_be_deployed() -> None:
    allowed = {"Fn::Sub": "arn:${AWS::Partition}:codedeploy:deploymentgroup:${Application}/*"}
    template = {
        "Resources": {
            "Application": {"Type": "AWS::CodeDeploy::Application"},
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"Resource": [allowed]}},
        }
    }

    code_deploy_is_missing(template)

    named = {"Fn::Sub": "arn:${AWS::Partition}:codedeploy:deploymentgroup:Application/*"}
    assert template["Resources"] == {"Role": {"Type": "AWS::IAM::Role", "Properties": {"Resource": [named]}}}


def test_an_alarm_on_an_expression_is_left_out() -> None:
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}}
    template = {
        "Resources": {
            "Alarm": alarm,
            "Share": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": [{"Id": "share"}]}},
        }
    }

    alarms_take_no_expressions(template)

    assert template["Resources"] == {"Alarm": alarm}


def test_whatever_names_a_version_gets_the_function_as_it_is_now() -> None:
    number = {"Fn::GetAtt": ["FunctionVersion1", "Version"]}
    arn = {"Fn::GetAtt": ["Function", "Arn"]}
    template = {
        "Resources": {
            "FunctionVersion1": {"Type": "AWS::Lambda::Version"},
            "Alias": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionVersion": number}},
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {"Dimensions": [{"Value": number}, {"Value": arn}]},
            },
        }
    }

    source_has_no_versions(template)

    assert template["Resources"] == {
        "Alias": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionVersion": "$LATEST"}},
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"Dimensions": [{"Value": "$LATEST"}, {"Value": arn}]},
        },
    }


def test_a_policy_of_a_secret_is_left_out() -> None:
    template = {
        "Resources": {
            "Policy": {"Type": "AWS::SecretsManager::ResourcePolicy"},
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle", "Metadata": {"Policy": {"Ref": "Policy"}}},
            "Bucket": {"Type": "AWS::S3::Bucket", "DependsOn": "Handle"},
            "Table": {"Type": "AWS::DynamoDB::Table", "DependsOn": "Policy"},
            "Queue": {"Type": "AWS::SQS::Queue", "DependsOn": ["Policy", "Table"]},
        }
    }

    secrets_have_no_policies(template)

    assert template["Resources"] == {
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Table": {"Type": "AWS::DynamoDB::Table"},
        "Queue": {"Type": "AWS::SQS::Queue", "DependsOn": ["Table"]},
    }


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
