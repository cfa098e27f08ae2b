"""A SAM template as the emulator can deploy it: native CloudFormation whose functions run from source."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local import shim
from local.chain_packages import Prepared
from local.errors import LocalError

Template = dict[str, Any]
Resource = dict[str, Any]

# SAM wants code in S3. A local folder passes as an object of this bucket, which nothing reads.
_BUCKET = "source"
_CODE_PROPERTIES = {"CodeUri", "ContentUri"}
_SHIM_HANDLER = "index.lambda_handler"

for _noisy in ("feature_toggle.feature_toggle", "metrics.metrics"):
    logging.getLogger(f"samtranslator.{_noisy}").setLevel(logging.ERROR)


class TemplateError(LocalError):
    """The template can't be read or translated; says why."""


def read(path: Path) -> Template:
    """The template as it is written. Raises TemplateError."""
    try:
        template = yaml_parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TemplateError(f"{path}: {error}") from error
    resources = template.get("Resources") if isinstance(template, dict) else None
    if not isinstance(resources, dict) or not all(isinstance(entry, dict) for entry in resources.values()):
        raise TemplateError(f"{path}: a template is a mapping with Resources, each of them a mapping too")
    return dict(template)


def set_parameters(template: Template, values: Mapping[str, str]) -> None:
    """Make the values the template's defaults. Raises TemplateError for one that it does not declare or allow."""
    declared = template.get("Parameters") or {}
    if unknown := values.keys() - declared.keys():
        raise TemplateError(f"the template has no parameter {', '.join(sorted(unknown))}")
    for name, value in values.items():
        _check_range(name, value, declared[name])
        declared[name]["Default"] = value


def _check_range(name: str, value: str, declared: Mapping[str, Any]) -> None:
    """As CloudFormation does, and the emulator does not. Raises TemplateError."""
    least, most = declared.get("MinValue"), declared.get("MaxValue")
    if least is None and most is None:
        return
    try:
        number = float(value)
    except ValueError:
        raise TemplateError(f"the parameter {name} is {value!r}: set it to a number") from None
    if not (least is None or number >= least) or not (most is None or number <= most):
        expected = f"a number from {least} to {most}"
        if least is None or most is None:
            expected = f"{least} or more" if most is None else f"{most} or less"
        raise TemplateError(f"the parameter {name} is {value}: set it to {expected}")


def translate(template: Template, session: Any) -> Template:
    """Apply the SAM transform with its own translator; folders stay named in the code's S3Key.

    `session` is a boto3 session: its region decides the partition. Raises TemplateError.
    """
    for properties in _properties(template):
        for name in _CODE_PROPERTIES & properties.keys():
            folder = properties[name]
            if isinstance(folder, str) and not folder.startswith("s3://"):
                properties[name] = f"s3://{_BUCKET}/{folder}"
    translator = Translator(None, Parser(), boto_session=session)
    try:
        translated: Template = translator.translate(template, {}, get_managed_policy_map=dict)
    except InvalidDocumentException as error:
        raise TemplateError("; ".join(cause.message for cause in error.causes)) from error
    return translated


def run_from_source(template: Template, folder: Path, *, reload: bool, packages: Prepared | None = None) -> None:
    """Replace the code of each function that lies in a local folder by the shim.

    A function's roots are its own folder, then that of the packages, then those of its layers. The layers themselves
    are deployed empty.
    """
    added = [str(packages.folder)] if packages else []
    modules = [str(module) for module in packages.modules] if packages else []
    for name, folders in local_code(template).items():
        properties = template["Resources"][name]["Properties"]
        own, *layers = [str((folder / one).resolve()) for one in folders]
        source = _shim_source([own, *added, *layers], properties["Handler"], reload, modules)
        properties["Code"] = {"ZipFile": source}
        properties["Handler"] = _SHIM_HANDLER


def local_code(template: Template) -> dict[str, list[str]]:
    """The folders of each function whose code lies in one: its own, then those of its layers."""
    found = {}
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        if (root := _folder(function["Properties"].get("Code"))) is not None:
            layers = [_folder(layer) for layer in _layers(template, function["Properties"])]
            found[name] = [root, *(layer for layer in layers if layer is not None)]
    return found


def of_type(template: Template, *types: str) -> dict[str, Resource]:
    """The resources of these types, by their logical id."""
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] in types}


def _properties(template: Template) -> Iterator[dict[str, Any]]:
    everything = [*(template.get("Globals") or {}).values()]
    everything += [resource.get("Properties") for resource in template["Resources"].values()]
    yield from (properties for properties in everything if isinstance(properties, dict))


def _layers(template: Template, properties: Mapping[str, Any]) -> Iterator[Any]:
    for layer in properties.get("Layers", []):
        if isinstance(layer, dict) and (resource := template["Resources"].get(layer.get("Ref"))):
            yield resource["Properties"].get("Content")


def _folder(code: Any) -> str | None:
    if isinstance(code, dict) and code.get("S3Bucket") == _BUCKET:
        return str(code["S3Key"])
    return None


def _shim_source(roots: list[str], handler: str, reload: bool, modules: list[str]) -> str:
    source = Path(shim.__file__).read_text(encoding="utf-8")
    return f"{source}\n\nlambda_handler = SourceHandler({roots!r}, {handler!r}, {reload!r}, {modules!r})\n"
