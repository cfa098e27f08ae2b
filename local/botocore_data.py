"""What botocore has to read before a function can call AWS, and nothing else: `make build` puts it into the layer.

`python -m local.botocore_data FOLDER` takes the folder that holds the layer's packages.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jobchain
from jobchain.aws.clients import MODELS, SERVICES

# Of no service: how calls are tried again, AWS's partitions, and the defaults of its SDKs.
_COMMON = ("_retry.json", "partitions.json", "sdk-default-configuration.json")
_OF_A_SERVICE = ("service-2.json", "endpoint-rule-set-1.json", "paginators-1.json")
_FOLDER = MODELS.relative_to(Path(jobchain.__file__).parents[1])


def write(packages: Path) -> Path:
    """Writes the models of `SERVICES` where the layer's `jobchain` reads them, made of botocore's; gives the folder."""
    source, target = packages / "botocore" / "data", packages / _FOLDER
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in _COMMON:
        _save(target / name, _read(source / name))
    endpoints = _read(source / "endpoints.json")
    for partition in endpoints["partitions"]:
        partition["services"] = {name: known for name, known in partition["services"].items() if name in SERVICES}
    _save(target / "endpoints.json", endpoints)
    for service in SERVICES:
        # By their dates: the newest version is the one that botocore takes.
        newest = max(path for path in (source / service).iterdir() if path.is_dir())
        for name in _OF_A_SERVICE:
            if (content := _read(newest / name)) is not None:
                _save(target / service / newest.name / name, _without_manual(content))
    return target


def _read(path: Path) -> Any:
    packed = path.with_name(f"{path.name}.gz")
    if packed.exists():
        return json.loads(gzip.decompress(packed.read_bytes()))
    return json.loads(path.read_bytes()) if path.exists() else None


def _save(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")))


def _without_manual(value: Any) -> Any:
    """`value` without its texts for people: three quarters of a model."""
    if isinstance(value, dict):
        # A shape's member may be called so, too: that is no text.
        gone = [name for name, inner in value.items() if name == "documentation" and isinstance(inner, str)]
        return {name: _without_manual(inner) for name, inner in value.items() if name not in gone}
    if isinstance(value, list):
        return [_without_manual(inner) for inner in value]
    return value


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
