"""Reads diagrams with Mermaid itself, a JavaScript library, in node."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.errors import LocalError

PROGRAM = Path(__file__).parent / "mermaid"
_FILES = ("check.mjs", "package.json", "package-lock.json", ".npmrc")
_OLDEST_NODE = (20, 19)  # which the document object that Mermaid wants, jsdom, needs
_LIMIT = 600.0  # seconds

# The lines that `jobchain.mermaid` writes.
_NODE = re.compile(r'^    (?P<id>n\d+)(?:\[|\{|\(\[)"(?P<label>.*)"(?:\]|\}|\]\))$', re.MULTILINE)
_EDGE = re.compile(r'^    (?P<start>n\d+) -->(?:\|"(?P<label>.*)"\|)? (?P<end>n\d+)$', re.MULTILINE)


class NoNode(LocalError):
    """This machine has no node that could run Mermaid; says why."""


class ParserError(LocalError):
    """Mermaid could not be installed or run; says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What Mermaid made of a diagram: why it could not read it, else its nodes (id, label) and edges (from, label, to).

    Labels are as they stand in the diagram, with entity codes.
    """

    error: str = ""
    nodes: tuple[tuple[str, ...], ...] = ()
    edges: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class MermaidParser:
    """Mermaid, installed."""

    node: str
    folder: Path
    version: str

    @classmethod
    def installed(cls, folder: Path) -> "MermaidParser":
        """Mermaid in `folder`, installed there if it is not yet. Raises NoNode, ParserError."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if not node or not npm:
            raise NoNode("node and npm are not installed")
        its_version = _run([node, "--version"]).strip()
        if tuple(map(int, re.findall(r"\d+", its_version)))[:2] < _OLDEST_NODE:
            raise NoNode(
                f"node is {its_version}, and Mermaid's parser needs {'.'.join(map(str, _OLDEST_NODE))} or newer"
            )
        wanted = hashlib.sha256(b"".join((PROGRAM / name).read_bytes() for name in _FILES)).hexdigest()
        ready = folder / ".ready"
        if not ready.exists() or ready.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for name in _FILES:
                shutil.copy(PROGRAM / name, folder)
            _run([npm, "ci", "--silent"], folder)
            ready.write_text(wanted)
        package = json.loads((folder / "node_modules" / "mermaid" / "package.json").read_text(encoding="utf-8"))
        return cls(node, folder, package["version"])

    def read(self, diagrams: Sequence[str]) -> list[Reading]:
        """What Mermaid makes of each diagram. Raises ParserError."""
        answers = _run([self.node, "check.mjs"], self.folder, "".join(f"{json.dumps(one)}\n" for one in diagrams))
        readings = [_reading(line) for line in answers.splitlines()]
        if len(readings) != len(diagrams):
            raise ParserError(f"{len(diagrams)} diagrams, but {len(readings)} answers of Mermaid's parser")
        return readings


def fault(diagram: str, reading: Reading) -> str:
    """What is wrong with a diagram of `jobchain.mermaid`, by what Mermaid made of it; empty for nothing.

    Mermaid also takes broken labels for something else, without a complaint: what it read must be what is written.
    """
    if reading.error:
        return reading.error
    for kind, line, read in (("node", _NODE, reading.nodes), ("edge", _EDGE, reading.edges)):
        # A blank label is read as none.
        written = [tuple((match[name] or "").strip() for name in line.groupindex) for match in line.finditer(diagram)]
        if sorted(written) != sorted(read):
            lost, added = set(written) - set(read), set(read) - set(written)
            return f"of its {kind}s, {sorted(lost)} were written, and read as {sorted(added)}"
    return ""


def _reading(line: str) -> Reading:
    answer = json.loads(line)
    if not answer["ok"]:
        return Reading(error=answer["error"])
    return Reading(nodes=tuple(map(tuple, answer["nodes"])), edges=tuple(map(tuple, answer["edges"])))


def _run(command: list[str], folder: Path | None = None, text: str = "") -> str:
    name = " ".join(command)
    try:
        done = subprocess.run(
            command, cwd=folder, input=text, capture_output=True, encoding="utf-8", timeout=_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ParserError(f"{name}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:] or f"exit status {done.returncode}"
        raise ParserError(f"{name}: {said}")
    return done.stdout
