"""Holds a running stack to its own OpenAPI document, with schemathesis: `python -m tests.fuzz`, or `make fuzz`.

`SEED=7` makes other requests than a plain run, `FUZZ_SECONDS=900` more of them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from local import signals
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.fuzz import letters, model
from tests.fuzz.tally import Tally

HERE = Path(__file__).resolve().parent
REPORTS = HERE.parent.parent / ".local" / "fuzz"
EVENTS = REPORTS / "events.ndjson"
DOCUMENT = REPORTS / "openapi.json"

SEED = os.environ.get("SEED") or "1"
SECONDS = int(os.environ.get("FUZZ_SECONDS") or 190)
"""For how long requests are made."""

GRACE_SECONDS = 120
"""What a run may take on top: to make smaller what it has found, and to write its reports."""


def main() -> int:
    """The exit status: 0 where the stack keeps its contract."""
    signals.listen()
    REPORTS.mkdir(parents=True, exist_ok=True)
    EVENTS.unlink(missing_ok=True)
    try:
        with (
            model.running() as base_url,
            EmbeddedStack.start(
                Settings(openai_base_url=base_url, auth_mode="api_key", chains=str(letters.write_packages(REPORTS))),
                folder=REPORTS,
            ) as stack,
        ):
            status = _fuzz(stack)
    except signals.Stopped as stopped:
        return 128 + stopped.number
    except subprocess.TimeoutExpired as late:
        print(f"error: schemathesis has not ended after {late.timeout} s", file=sys.stderr)
        return 1
    return _judge(status)


def _fuzz(stack: EmbeddedStack) -> int:
    keys = _keys(stack)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += [str(_fetch_document(stack)), "--url", stack.api_url]
    command += ["--seed", SEED, "--max-time", str(SECONDS)]
    command += ["--report-junit-path", str(REPORTS / "junit.xml"), "--report-ndjson-path", str(EVENTS)]
    # no_proxy: nor between schemathesis and this machine.
    environment = {**os.environ, "FUZZ_KEYS": str(_write_keys(keys)), "no_proxy": "127.0.0.1"}
    environment[letters.VARIABLE] = " ".join(letters.waiting(stack.api_url, keys["one"]))
    return subprocess.run(
        command, check=False, cwd=REPORTS, env=environment, timeout=SECONDS + GRACE_SECONDS
    ).returncode


def _fetch_document(stack: EmbeddedStack) -> Path:
    """The document that the stack answers with, as a file: schemathesis leaves out the path it loads one from."""
    # trust_env: without the developer's proxy, as the stack is on this machine.
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        client.get("/health").raise_for_status()
        DOCUMENT.write_bytes(client.get("/openapi.json").raise_for_status().content)
    return DOCUMENT


def _keys(stack: EmbeddedStack) -> dict[str, str]:
    """The keys of two tenants, by their names."""
    keys = ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now)
    return {name: keys.create(name, "fuzz", operator=name == "one")[0] for name in ("one", "two")}


def _write_keys(keys: Mapping[str, str]) -> Path:
    """A file with the keys, in the format of https://github.com/WebFuzzing/Commons."""
    headers = {name: [{"name": "Authorization", "value": f"Bearer {key}"}] for name, key in keys.items()}
    file = REPORTS / "keys.json"
    file.write_text(json.dumps({"auth": [{"name": name, "fixedHeaders": headers[name]} for name in keys]}))
    return file


def _judge(status: int) -> int:
    """The exit status, given that of schemathesis: a run that reached too little proves nothing."""
    if not EVENTS.exists():
        return status or 1
    tally = Tally.of(EVENTS)
    document = json.loads(DOCUMENT.read_bytes())
    print("\n".join(["", *tally.lines(document)]))
    if unreached := tally.unreached(document):
        print(f"error: never answered with success: {', '.join(unreached)}", file=sys.stderr)
    if not tally.links:
        print("error: no link was followed", file=sys.stderr)
    return status or int(bool(unreached) or not tally.links)


if __name__ == "__main__":
    sys.exit(main())
