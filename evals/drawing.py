"""Draws diagrams as the dashboard does, in a real browser, and reads what is drawn.

The browser gets the dashboard's own frame from the site's files, with its script, its Mermaid and its policy. It has no
network.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Error, Frame, Page, Route, sync_playwright

from evals import chromium
from jobchain_web import site
from local.errors import LocalError

_ORIGIN = "http://diagrams.invalid"
_LIMIT = 60_000.0  # milliseconds, for one diagram on a busy machine
# In place of the dashboard: it has the frame, and hands diagrams in and answers out.
_HOST = """\
<!doctype html>
<meta charset="utf-8">
<script>
  let answered;
  const wait = () => new Promise((resolve) => (answered = resolve));
  const ready = wait();
  addEventListener("message", ({ data }) => answered(data));
  async function draw(text) {
    await ready;
    const answer = wait();
    document.querySelector("iframe").contentWindow.postMessage({ text, dark: false }, "*");
    return answer;
  }
</script>
<iframe src="queue-diagram" sandbox="allow-scripts" width="1200" height="800"></iframe>
"""
# What a reader sees of each label; where a label holds markup, that, so that it differs from any text.
_READ = """\
() => {
  const text = (label) => {
    const words = label?.querySelector("p");
    if (!words) return "";
    return label.querySelectorAll("p").length > 1 || words.childElementCount ? label.innerHTML : words.innerText;
  };
  const nodes = [...document.querySelectorAll("g.node")].map((node) => [
    node.id.replace(/^drawing-\\d+-flowchart-(.+)-\\d+$/, "$1"),
    text(node.querySelector(".label")),
  ]);
  const edges = [...document.querySelectorAll("g.edgeLabel > g.label[data-id]")].map((edge) => {
    const [, from, to] = /^L_(n\\d+)_(n\\d+)_\\d+$/.exec(edge.dataset.id) ?? [, edge.dataset.id, ""];
    return [from, text(edge), to];
  });
  return { nodes, edges };
}
"""
# The lines that `jobchain.mermaid` writes.
_NODE = re.compile(r'^    (?P<id>n\d+)(?:\[|\{|\(\[)"(?P<label>.*)"(?:\]|\}|\]\))$', re.MULTILINE)
_EDGE = re.compile(r'^    (?P<start>n\d+) -->(?:\|"(?P<label>.*)"\|)? (?P<end>n\d+)$', re.MULTILINE)
_CODE = re.compile(r"#(?:(\d+)|(\w+));")


class NoBrowserError(LocalError):
    """This machine has no browser that could draw; says how to get one."""


class DrawingError(LocalError):
    """The browser could not be started, or ended; says why."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What was drawn of a diagram: its nodes (id, label) and edges (from, label, to); or why nothing was.

    Labels are as a reader sees them. An edge without a label has an empty one.
    """

    error: str = ""
    nodes: tuple[tuple[str, str], ...] = ()
    edges: tuple[tuple[str, str, str], ...] = ()


class DrawingPage:
    """A page of a browser with the dashboard's frame in it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.route("**/*", _fulfill)
        page.set_default_timeout(_LIMIT)
        page.goto(f"{_ORIGIN}/")

    def draw(self, diagram: str) -> Drawing:
        """Draws a Mermaid text and reads it. Raises playwright's Error when the browser ends."""
        answer = self._page.evaluate("(text) => draw(text)", diagram)
        if "error" in answer:
            return Drawing(error=answer["error"])
        read = self.frame.evaluate(_READ)
        return Drawing(nodes=tuple(map(tuple, read["nodes"])), edges=tuple(map(tuple, read["edges"])))

    @property
    def frame(self) -> Frame:
        """The dashboard's frame, with what was drawn last."""
        return next(frame for frame in self._page.frames if frame.parent_frame)


def mermaid_version() -> str:
    """The version of the Mermaid that the dashboard draws with."""
    return next(_folder().glob("vendor/mermaid-tiny-*")).name.rpartition("-")[2]


def find_browser() -> str:
    """The path of the browser. Raises NoBrowserError."""
    if (path := chromium.find_chromium()) is None:
        raise NoBrowserError(chromium.MISSING)
    return path


def draw(browser: str, diagrams: Sequence[str]) -> list[Drawing]:
    """Draws each diagram with the browser of this path. Raises DrawingError."""
    try:
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=browser, args=chromium.ARGUMENTS)
            page = DrawingPage(started.new_page())
            drawings = [page.draw(diagram) for diagram in diagrams]
            started.close()
            return drawings
    except Error as error:
        raise DrawingError(f"{browser} could not draw diagrams: {error}") from error


def fault(diagram: str, drawing: Drawing) -> str:
    """What is wrong with a diagram of `jobchain.mermaid`, by what was drawn of it; empty for nothing.

    Mermaid also takes broken labels for something else, without a complaint: what is drawn must be what was written.
    """
    if drawing.error:
        return drawing.error
    for kind, line, drawn in (("node", _NODE, drawing.nodes), ("edge", _EDGE, drawing.edges)):
        written = [_written(match) for match in line.finditer(diagram)]
        if sorted(written) != sorted(drawn):
            lost, added = sorted(set(written) - set(drawn)), sorted(set(drawn) - set(written))
            return f"of its {kind}s, {lost} were written, and drawn as {added}"
    return ""


def _written(line: re.Match[str]) -> tuple[str, ...]:
    """The parts of a line, with its label as a reader should see it; a blank one is drawn as none."""
    parts = {name: text or "" for name, text in line.groupdict().items()}
    parts["label"] = _CODE.sub(_character, parts["label"]).strip(" ")
    return tuple(parts.values())


def _character(code: re.Match[str]) -> str:
    return chr(int(code[1])) if code[1] else html.unescape(f"&{code[2]};")


def _folder() -> Path:
    return Path(site.__file__).parent / "static"


_SITE = site.Site(_folder())


def _fulfill(route: Route) -> None:
    """Answers a request of the browser with a file of the site, as the web function does."""
    path = urlsplit(route.request.url).path
    if path == "/":
        route.fulfill(content_type="text/html", body=_HOST)
        return
    response = _SITE.answer(_event(path))
    route.fulfill(status=response["statusCode"], headers=response["headers"], body=response["body"])


def _event(path: str) -> dict[str, Any]:
    """What API Gateway makes of a GET, as far as the site looks at it."""
    proxy = {"proxy": path.removeprefix("/assets/")} if path.startswith("/assets/") else None
    resource = "/assets/{proxy+}" if proxy else path
    request = {"requestId": "drawing"}
    return {
        "path": path,
        "resource": resource,
        "pathParameters": proxy,
        "httpMethod": "GET",
        "headers": {},
        "requestContext": request,
    }
