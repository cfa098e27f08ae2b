"""Loads every chain of a deployment, and writes why some can't be used: `chain_check.py PATHS FILE`.

PATHS is a list in JSON. The faults go to FILE, as chains may print what they like.

It is run by its path, by the functions' own Python, with the deployment's paths in front.
"""

import contextlib
import json
import sys
from pathlib import Path


def main(paths: list[str]) -> dict[str, str]:
    """The faults by the names of the chains."""
    sys.path[:0] = paths
    from jobchain.chains import CHAINS  # noqa: PLC0415  # found by the paths

    usable = CHAINS.compiled()
    faults = dict(CHAINS.faults)
    for name, chain in usable.items():
        try:
            chain.payload.model_json_schema()
        except Exception as error:  # noqa: BLE001  # of the author's types: it is told with the chain's name
            faults[name] = f"the payload of {name} has no JSON Schema: {error}"
    default = usable.get(CHAINS.default)
    if default and len(default.payload.model_fields) != 1:
        fields = ", ".join(default.payload.model_fields) or "none"
        faults[default.name] = (
            f"the default chain {default.name} has the fields {fields}: choose one with one text, or leave "
            "--default-chain out"
        )
    return faults


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = main(json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
