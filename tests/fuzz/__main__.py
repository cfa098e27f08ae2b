"""Holds a running stack to its own OpenAPI document, with schemathesis: `python -m tests.fuzz`, or `make fuzz`.

`SEED=7` makes other requests than a plain run, `EXAMPLES=500` more of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from jobchain.keys import KeyRepository
from jobchain.model import utc_now
from local import signals
from local.stack import LocalStack

HERE = Path(__file__).resolve().parent
REPORTS = HERE.parent.parent / ".local" / "fuzz"
SECONDS = 600
"""How long a run may take; it takes 3 to 4 minutes on two cores."""


def main() -> int:
    """The exit status: 0 where the stack keeps its contract."""
    signals.listen()
    REPORTS.mkdir(parents=True, exist_ok=True)
    try:
        with LocalStack.start(parameters={"AuthMode": "api_key"}, folder=REPORTS) as stack:
            return _fuzz(stack)
    except signals.Stopped as stopped:
        return 128 + stopped.number
    except subprocess.TimeoutExpired:
        print(f"error: not done within {SECONDS} s", file=sys.stderr)
        return 1


def _fuzz(stack: LocalStack) -> int:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += [f"{stack.api_url}/openapi.json", "--url", stack.api_url, "--wait-for-schema", "30"]
    command += ["--seed", os.environ.get("SEED", "1"), "--report", "junit,ndjson", "--report-dir", str(REPORTS)]
    if examples := os.environ.get("EXAMPLES"):
        command += ["--max-examples", examples]
    # no_proxy: no proxy of the developer's stands between schemathesis and its own machine.
    environment = {**os.environ, "FUZZ_KEYS": str(_write_keys(stack)), "no_proxy": "127.0.0.1"}
    return subprocess.run(command, check=False, cwd=REPORTS, env=environment, timeout=SECONDS).returncode


def _write_keys(stack: LocalStack) -> Path:
    """A file with keys of two tenants, in the format of https://github.com/WebFuzzing/Commons."""
    keys = KeyRepository(stack.client("dynamodb"), stack.table, utc_now)
    users = {name: keys.create(name, "fuzz", operator=name == "one")[0] for name in ("one", "two")}
    headers = {name: [{"name": "Authorization", "value": f"Bearer {key}"}] for name, key in users.items()}
    file = REPORTS / "keys.json"
    file.write_text(json.dumps({"auth": [{"name": name, "fixedHeaders": headers[name]} for name in users]}))
    return file


if __name__ == "__main__":
    sys.exit(main())
