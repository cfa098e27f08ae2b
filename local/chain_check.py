"""Loads every chain of a deployment, and writes why some can't be used: `chain_check.py PATHS FILE`.

PATHS is a list in JSON. The faults go to FILE, as chains may print what they like.

It is run by its path, by the functions' own Python, with the deployment's paths in front.
"""

import contextlib
import json
import sys
import traceback
from pathlib import Path


def main(paths: list[str]) -> dict[str, str]:
    """The faults by the names of the chains."""
    sys.path[:0] = paths
    from jobchain.chains.loading import CannotLoad, compiled, deployment  # noqa: PLC0415  # found by the paths

    deployed = deployment()
    usable, faults = {}, {}
    for name, source in deployed.chains.items():
        try:
            usable[name] = compiled(source)
        except CannotLoad as error:
            faults[name] = f"{error}{_place(error, source.reference, paths)}"
    for name, chain in usable.items():
        try:
            chain.payload.model_json_schema()
        except Exception as error:  # noqa: BLE001  # of the author's types: it is told with the chain's name
            faults[name] = f"the payload of {name} has no JSON Schema: {error}"
    default = usable.get(deployed.default)
    if default and len(default.payload.model_fields) != 1:
        fields = ", ".join(default.payload.model_fields) or "none"
        faults[default.name] = (
            f"the default chain {default.name} has the fields {fields}: choose one with one text, or leave "
            "--default-chain out"
        )
    return faults


def _place(error: BaseException, reference: str, paths: list[str]) -> str:
    """The last line of the chain's own package that led to an error, as ` (file:line)`; empty where none is known.

    A mistake that Jobchain tells of names its line itself.
    """
    cause = error.__cause__
    if cause is None or type(cause).__name__ == "ChainError":
        return ""
    if isinstance(cause, SyntaxError) and cause.filename:
        return f" ({cause.filename}:{cause.lineno})"
    top = reference.partition(":")[0].partition(".")[0]
    homes = [Path(path) / name for path in paths for name in (f"{top}.py", top)]
    frames = traceback.extract_tb(cause.__traceback__)
    own = [each for each in frames if any(Path(each.filename).is_relative_to(home) for home in homes)]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = main(json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
