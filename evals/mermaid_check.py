"""A hundred jobs over nasty texts through the whole stack, and every diagram drawn as the dashboard draws it."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from evals import chromium
from evals.drawing import NoBrowserError, draw, fault, find_browser, mermaid_version
from evals.jobs import Request, run
from evals.subjects import SUBJECTS, Document, default_folder, documents
from jobchain_cli.words import failure
from jobchain_client import Job as ClientJob
from jobchain_client import Jobchain
from local.errors import LocalError
from local.settings import Settings
from local.stack import EmbeddedStack

JOBS = 100

# What means something to Mermaid, HTML, Markdown or CSS, and what is hard on any program that reads text.
NASTY = (
    *("end", "subgraph x", "graph LR", "flowchart TD", "direction LR", "redirection TBD", "style n1 fill:#f00"),
    *("linkStyle 0 stroke:red", "classDef x fill:red", "class n1 x", ':::x {{"a"}}', "default", "interpolate basis"),
    *('click n1 href "javascript:alert(1)"', "click n1 call alert(1)", "href", "accTitle: x", "accDescr { x }"),
    *("%% a comment", '%%{init: {"theme": "dark", "maxTextSize": 1}}%%', "--- title: x ---", "@{ shape: circle }"),
    *('"quoted"', '"] --> x["', "a[b](c){d}<e>", "([x])", "[[x]]", "{{x}}", ">x]", "[/x/]", "a|b|c", "a;b", "a --> b"),
    *("-.->", "==>", "~~~", "x--x", "o==o", "<-->", "---", "e1@-->", "`code`", "**bold**", "__under__", "~~gone~~"),
    *("<script>alert(1)</script>", "<br/>", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "&#35;", "#quot;", "#35;"),
    *("#9829;", "fa:fa-bomb", "$$x^2$$", "\\n", "\\", "1. first", "- item", "* item", "+ item", "# heading", "> quote"),
    *(
        "👩‍👩‍👧 🇩🇪",
        "日本語の規則",
        "规则 需要 检查",
        "مرحبا",
        "שלום",
        "ไทย",
        "\u202eturned\u202c",
        "a\u0301\u0302\u0303",
        "\u200b\ufeff x",
    ),
    *(
        "\ue000",
        "ﬂ°°35¶ß",
        "Donaudampfschifffahrtsgesellschaftskapitän" * 4,
        "x" * 3000,
        '"' * 300,
        "constructor",
        "__proto__",
    ),
)
_FRAMES = (
    "{} must be checked.",
    "Users should never use {} for keys.",
    "Use {} and {} in each release.",
    "{}",
    "The rule {} must not be broken; see {}.",
    "Keys must be kept for 30 days: {}.",
)


class DiagramError(LocalError):
    """A diagram that Mermaid can't draw, or draws as another one; says which and why."""


def check(root: Path, say: Callable[[str], None]) -> None:
    """Run the jobs and draw their diagrams; says what came of it.

    Skipped, with the reason, where no browser is, unless REQUIRE_BROWSER=1. The offline model answers, whatever the
    environment says. Raises DiagramError, NoBrowserError, DrawingError, JobError and what `EmbeddedStack.start` raises.
    """
    try:
        browser = find_browser()
    except NoBrowserError as reason:
        if chromium.is_required():
            raise
        say(f"mermaid-check: SKIPPED, no diagram was drawn: {reason}")
        return
    jobs = requests(documents(default_folder(root)) + documents(root / "examples"))
    with EmbeddedStack.start(Settings()) as stack, Jobchain(stack.api_url) as api:
        ended = run(api, jobs, lambda _: None)
    for request, job in zip(jobs, ended, strict=True):
        if job["status"] != "completed":
            raise DiagramError(f"{request.job_name}, {request.payload}: {failure(ClientJob.of(job))}")
    diagrams = [job["result"]["diagram"] for job in ended]
    for request, diagram, drawing in zip(jobs, diagrams, draw(browser, diagrams), strict=True):
        if wrong := fault(diagram, drawing):
            raise DiagramError(f"{request.job_name}: Mermaid does not draw this diagram as written: {wrong}\n{diagram}")
    labels = sum(diagram.count('"') // 2 for diagram in diagrams)
    say(
        f"mermaid-check: Mermaid {mermaid_version()} draws all {len(diagrams)} diagrams, with {labels} labels, as they"
        " were written."
    )


def requests(plain: list[Document]) -> list[Request]:
    """As many jobs as `JOBS`, of each chain that draws, over these documents and nasty texts; always the same ones."""
    chosen = random.Random(1)  # noqa: S311  # no secret
    texts = plain + [_nasty(chosen) for _ in range(2 * JOBS)]
    drawing = [(name, subject) for name, subject in SUBJECTS.items() if subject.draws]
    found = []
    for number in range(JOBS):
        name, subject = drawing[number % len(drawing)]
        taken, texts = texts[: subject.documents], texts[subject.documents :]
        if subject.documents > 1:
            taken = _related(taken, _nasty(chosen).text)
        found.append(Request(name, subject.payload(taken)))
    return found


def _nasty(chosen: random.Random) -> Document:
    """A text of obligations that are full of nasty words, under a nasty name."""
    marks = ("- ", "- ", "1. ", "## ", "")
    lines = [
        chosen.choice(marks) + re.sub("{}", lambda _: chosen.choice(NASTY), chosen.choice(_FRAMES))
        for _ in range(chosen.randint(1, 20))
    ]
    return Document(chosen.choice(NASTY), "\n\n".join(lines))


def _related(texts: list[Document], common: str) -> list[Document]:
    """Texts that have something in common, and contradict each other in its numbers."""
    return [
        replace(one, text=f"{one.text}\n\n{re.sub('[0-9]', str(number), common)}") for number, one in enumerate(texts)
    ]
