"""A replay as one HTML file: no script, nothing from elsewhere, and a policy that lets a browser load nothing."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from importlib.resources import files
from urllib.parse import quote, urlsplit

from jobchain_cli.replay_comparison import Comparison, Pair, PartPair, Side, Verdict, quotes
from jobchain_cli.replay_diff import Pieces, difference
from jobchain_cli.replay_html import Html, joined, tag
from jobchain_cli.replay_words import dollars, heading, seconds, settings, sum_rows, verdicts
from jobchain_cli.words import in_one_line

# What a reader may want to see, with the mark of the jobs that are shown then.
_CHOICES = (
    ("all", "All"),
    ("worse", "Worse or mixed"),
    ("better", "Better or mixed"),
    ("changed", "Answer changed"),
    ("unchanged", "Answer the same"),
    ("ended-badly", "Not completed"),
)


def page(comparison: Comparison, api_url: str = "") -> str:
    """The whole file. `api_url` is where the dashboard of the jobs is; empty for no links."""
    style = files(__package__).joinpath("replay.css").read_text(encoding="utf-8")
    shown = _shown_by_choice()
    dashboard = f"{api_url}/queue" if urlsplit(api_url).scheme in ("http", "https") else ""
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(style + shown)),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", heading(comparison)),
            tag("style", Html(style + shown)),
        ),
        tag("body", tag("header", *_head(comparison)), tag("main", *_main(comparison, dashboard))),
        lang="en",
    )


def _policy(style: str) -> str:
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _shown_by_choice() -> str:
    """The rules that hide the jobs that the reader has not chosen."""
    return "".join(
        f"main:has(#show-{name}:checked) [data-job]:not([data-job~={name}]) {{ display: none; }}\n"
        for name, _ in _CHOICES[1:]
    )


def _head(comparison: Comparison) -> Iterator[Html]:
    yield tag("h1", heading(comparison))
    for line in settings(comparison):
        yield tag("p", line)
    if comparison.prompt:
        prompt = tag("pre", comparison.prompt, class_="shown")
        yield tag("details", tag("summary", "The prompt of the replay"), prompt)
    made = f"Replay {comparison.replay_id}, {comparison.made_at:%Y-%m-%d %H:%M} UTC."
    yield tag("p", made, class_="faint")


def _main(comparison: Comparison, dashboard: str) -> Iterator[Html]:
    yield tag("h2", "Summary")
    yield tag("p", verdicts(comparison))
    if comparison.stopped:
        yield tag("p", tag("strong", f"Not all jobs were replayed: {comparison.stopped}."))
    rows = [
        tag("tr", tag("th", name, scope="row"), *(tag("td", cell, class_="number") for cell in cells))
        for name, *cells in sum_rows(comparison)
    ]
    head = (tag("th", name, scope="col", class_="number") for name in ("Before", "Replay", "Change"))
    caption = f"The sums of the {len(comparison.compared)} jobs whose replays have ended; only of steps that ran again."
    yield _scrolled(
        "Summary", tag("table", tag("caption", caption), tag("thead", tag("tr", tag("td"), *head)), tag("tbody", *rows))
    )
    yield tag("h2", "Jobs")
    yield _choices()
    yield _scrolled("Jobs", _overview(comparison.pairs))
    for number, pair in enumerate(comparison.pairs, start=1):
        yield _article(number, pair, dashboard)


def _scrolled(name: str, table: Html) -> Html:
    """A table that is scrolled by itself where it is too wide. The keyboard must reach it for that."""
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=name)


def _choices() -> Html:
    inputs = [
        joined(
            tag("input", type="radio", name="show", id=f"show-{name}", checked=name == "all"),
            tag("label", words, for_=f"show-{name}"),
        )
        for name, words in _CHOICES
    ]
    return tag("fieldset", tag("legend", "Show"), *inputs)


def _marks(pair: Pair) -> str:
    """Which choices show the job."""
    marks = ["all", "changed" if pair.changed else "unchanged" if pair.replay else ""]
    if pair.verdict in (Verdict.WORSE, Verdict.MIXED):
        marks.append("worse")
    if pair.verdict in (Verdict.BETTER, Verdict.MIXED):
        marks.append("better")
    if pair.replay is None or not pair.replay.checks.completed:
        marks.append("ended-badly")
    return " ".join(filter(None, marks))


def _verdict(pair: Pair) -> Html:
    return tag("span", str(pair.verdict), class_=f"verdict {pair.verdict.replace(' ', '-')}")


def _overview(pairs: Sequence[Pair]) -> Html:
    names = ("Job", "By the checks", "Changed", "US dollars", "Seconds", "Tokens out")
    head = tag(
        "tr", *(tag("th", name, scope="col", class_="number" if n > 2 else None) for n, name in enumerate(names))
    )
    return tag(
        "table",
        tag("caption", "The worst first. Numbers are before → replay."),
        tag("thead", head),
        tag("tbody", *(_overview_row(number, pair) for number, pair in enumerate(pairs, start=1))),
        class_="jobs",
    )


def _overview_row(number: int, pair: Pair) -> Html:
    was, now = pair.source, pair.replay
    cells = ("", "", "")
    if now:
        cells = (
            f"{dollars(was.cost_usd)} → {dollars(now.cost_usd)}",
            f"{seconds(was.seconds)} → {seconds(now.seconds)}",
            f"{was.output_tokens} → {now.output_tokens}",
        )
    return tag(
        "tr",
        tag("td", tag("a", f"{number}. {pair.title}", href=f"#job-{number}"), class_="free"),
        tag("td", _verdict(pair)),
        tag("td", ", ".join(part.title for part in pair.changed) or ("nothing" if now else ""), class_="free"),
        *(tag("td", cell, class_="number") for cell in cells),
        data_job=_marks(pair),
    )


_MISSING = {Verdict.NOT_ENDED: "Not ended", Verdict.NOT_RUN: "Not replayed"}


def _article(number: int, pair: Pair, dashboard: str) -> Html:
    changed = [part for part in pair.parts if part.changed and not part.is_diagram] if pair.replay else []
    diagrams = [part for part in pair.parts if part.changed and part.is_diagram] if pair.replay else []
    same = [part for part in pair.parts if part not in changed and part not in diagrams]
    return tag(
        "article",
        tag("h3", f"{number}. {pair.title} ", _verdict(pair), id=f"title-{number}"),
        *(tag("p", reason) for reason in pair.reasons),
        *(tag("p", f"{name}: {side.error}") for name, side in _named(pair) if side.error),
        tag("p", f"{_MISSING[pair.verdict]}: {pair.problem}.") if pair.problem else None,
        _facts(number, pair, dashboard),
        *(joined(tag("h4", part.title), _sides(part)) for part in changed),
        *(tag("details", tag("summary", f"{part.title}: changed, as Mermaid"), _sides(part)) for part in diagrams),
        _unchanged(same, pair) if same else None,
        _given(pair) if pair.given else None,
        id=f"job-{number}",
        aria_labelledby=f"title-{number}",
        data_job=_marks(pair),
    )


def _facts(number: int, pair: Pair, dashboard: str) -> Html:
    names = (
        "Status",
        "Model",
        "US dollars",
        "Seconds",
        "Tokens in",
        "Out",
        "Quotes in the text",
        "Rejected",
        "Job",
    )
    head = tag("tr", tag("td"), *(tag("th", name, scope="col") for name in names))
    rows = [tag("tr", tag("th", name, scope="row"), *_cells(side, dashboard)) for name, side in _named(pair)]
    table = tag("table", tag("caption", pair.chain), tag("thead", head), tag("tbody", *rows), class_="facts")
    return _scrolled(f"Facts of job {number}", table)


def _named(pair: Pair) -> list[tuple[str, Side]]:
    return [("Before", pair.source), *([("Replay", pair.replay)] if pair.replay else [])]


def _cells(side: Side, dashboard: str) -> Iterator[Html]:
    link = f"{dashboard}#/jobs/{quote(in_one_line(side.event_id), safe='')}"
    yield tag("td", side.status)
    yield tag("td", ", ".join(side.models) or "none", class_="free" if len(side.models) > 1 else None)
    yield tag("td", dollars(side.cost_usd))
    yield tag("td", seconds(side.seconds))
    yield tag("td", str(side.input_tokens))
    yield tag("td", str(side.output_tokens))
    yield tag("td", quotes(side.checks) if side.checks.quotes else "none")
    yield tag("td", str(side.checks.rejected))
    yield tag("td", tag("a", side.event_id, href=link, rel="noreferrer") if dashboard else side.event_id)


def _sides(part: PartPair) -> Html:
    before, after = difference(part.before or "", part.after or "")
    kind = "shown code" if part.is_diagram else "shown"
    return tag(
        "div",
        tag("div", tag("h5", "Before"), tag("div", *_marked(before, "del", part.before), class_=kind), class_="side"),
        tag("div", tag("h5", "Replay"), tag("div", *_marked(after, "ins", part.after), class_=kind), class_="side"),
        class_="pair",
    )


def _marked(pieces: Pieces, name: str, whole: str | None) -> Iterator[Html | str]:
    if not whole:
        yield tag("span", "There is none." if whole is None else "It is empty.", class_="faint")
    for piece in pieces:
        yield tag(name, piece.text) if piece.changed and not piece.text.isspace() else piece.text


def _given(pair: Pair) -> Html:
    texts = [joined(tag("h4", name), tag("div", content, class_="shown")) for name, content in pair.given]
    return tag("details", tag("summary", "What it was given"), *texts)


def _unchanged(parts: Sequence[PartPair], pair: Pair) -> Html:
    words = "Unchanged" if pair.replay else "The answer before"
    summary = tag("summary", f"{words}: {', '.join(part.title for part in parts)}")
    texts = [
        joined(
            tag("h4", part.title), tag("div", part.before or "", class_="shown code" if part.is_diagram else "shown")
        )
        for part in parts
    ]
    return tag("details", summary, *texts)
