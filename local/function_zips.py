"""The functions of a build as zip files, for an emulator without layers: each holds the content of its layers, too."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local import chain_packages, sam_template
from local.architecture import BuildError, built_for
from local.chain_list import chosen_file
from local.emulator_clients import Clients

BUILD = Path(".aws-sam/build")
_BUCKET = "jobchain-packages"
# A zip's entries bear a time: always the same one, so that the same content is the same package.
_TIME = (2020, 1, 1, 0, 0, 0)
_SOURCES = ("template.yaml", "functions", "layers")


def check_build(root: Path, architecture: str | None = None) -> None:
    """Raise BuildError unless `.aws-sam` holds a build of the sources as they are now.

    With `architecture` it must be for that one. `make build` removes the old build first, so a failed one leaves none.
    """
    again = f"run `make build{f' ARCHITECTURE={architecture}' if architecture else ''}`"
    built = root / BUILD / "template.yaml"
    if not built.is_file():
        raise BuildError(f"there is no build in {root / BUILD}: {again}")
    made = built.stat().st_mtime_ns
    for path in _source_files(root):
        if path.stat().st_mtime_ns > made:
            name = path.relative_to(root) if path.is_relative_to(root) else path
            raise BuildError(f"{name} is newer than the build in .aws-sam: {again}")
    if architecture and (found := built_for(root / BUILD)) not in ("", architecture):
        raise BuildError(f"the build in .aws-sam is for {found}, not {architecture}: {again}")


class FunctionZips:
    """Uploads the functions of one build to an emulator."""

    def __init__(self, clients: Clients, build: Path) -> None:
        self._clients = clients
        self._build = build

    def put(self, template: sam_template.Template) -> None:
        """Give each function of the translated template its package, and take the layers out. Raises BuildError."""
        for name, (own, *layers) in sam_template.local_code(template).items():
            content = _content([self._build / own, *(self._build / layer / "python" for layer in layers)])
            properties = template["Resources"][name]["Properties"]
            properties["Code"] = self._upload(_digest(content), content)
            properties.pop("Layers", None)
        for layer in sam_template.of_type(template, "AWS::Lambda::LayerVersion"):
            del template["Resources"][layer]

    def _upload(self, digest: str, content: Mapping[str, Path]) -> dict[str, str]:
        s3 = self._clients.get("s3")
        s3.create_bucket(Bucket=_BUCKET)
        key = f"{digest}.zip"
        if key not in {found["Key"] for found in s3.list_objects_v2(Bucket=_BUCKET, Prefix=key).get("Contents", [])}:
            s3.put_object(Bucket=_BUCKET, Key=key, Body=_zipped(content))
        return {"S3Bucket": _BUCKET, "S3Key": key}


def _source_files(root: Path) -> Iterator[Path]:
    chains = chosen_file(root)
    added = chain_packages.sources(chains) if chains.is_file() else ()
    for path in (*(root / name for name in _SOURCES), *added):
        files: Sequence[Path] = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def _content(folders: Sequence[Path]) -> dict[str, Path]:
    """The files by their names in the package; as on Lambda, a function's own come before those of a layer."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise BuildError(f"{folder} is missing: build again with `make build`")
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.setdefault(path.relative_to(folder).as_posix(), path)
    return dict(sorted(found.items()))


def _digest(content: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in content.items():
        data = path.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def _zipped(content: Mapping[str, Path]) -> bytes:
    buffer: Any = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in content.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Readable for the user that functions run as, whatever user built it.
            entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            archive.writestr(entry, path.read_bytes())
    return bytes(buffer.getvalue())
