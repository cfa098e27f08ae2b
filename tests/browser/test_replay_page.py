"""The page of a replay in a real browser: what it shows, at any width, on paper, and whatever the texts are."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from jobchain_cli.replay_comparison import Comparison, Pair, ordered, pair_of
from jobchain_cli.replay_page import page as page_of
from jobchain_client import Job
from tests.hostile import PIECES
from tests.jobs import raw_attempt, raw_job

AXE = next(Path(__file__).parent.glob("vendor/axe-core-*/axe.min.js")).read_text()

HOSTILE = (
    '</style></title><script>alert(1)</script><img src=x onerror="alert(2)"><a href="javascript:alert(3)">x</a>'
    "<style>*{display:none}</style>\x1b[2J\u202egnp.exe\u2066\x00\ud800 &lt;b&gt; " + "W" * 5_000
)

VIEW: list[dict[str, Any]] = [
    {"name": "summary", "form": "text"},
    {
        "name": "checklist",
        "form": "checklist",
        "fields": [{"name": "text", "form": "line"}, {"name": "source", "form": "quote", "found": "source_found"}],
    },
    {"name": "diagram", "form": "diagram"},
]


def job(name: str, summary: str, *items: str, missing: int = 0, **more: Any) -> Job:
    checklist = [{"text": item, "source": item, "source_found": number >= missing} for number, item in enumerate(items)]
    result = {"summary": summary, "checklist": checklist, "diagram": f"flowchart TD\n a[{summary}]"}
    return Job.of(raw_job(name, **{"title": f"{name}.docx", "result": result, "result_view": VIEW, **more}))


def pairs() -> Iterator[Pair]:
    before = job("policy", "Doors must be locked at night.", "Lock doors", "Close windows")
    rejected = [raw_attempt("checklist", outcome="unusable_answer")]
    yield pair_of(before, job("a", "Doors must be shut at night.", "Lock doors", failed_attempts=rejected, missing=1))
    error = {"type": "model_refused", "message": HOSTILE, "step": HOSTILE}
    yield pair_of(before, job("b", "", status="failed", error=error, result={}))
    yield pair_of(job("fair", "Same.", "One", missing=1), job("c", "Same.", "One"))
    yield pair_of(job("same", "Same."), job("d", "Same."))
    yield pair_of(job("left", "Left."), None, "the budget of 1 US dollars is used up")
    given = {"guidelines": HOSTILE, HOSTILE: [HOSTILE, 7]}
    yield pair_of(job(HOSTILE, "Fine.", "Fine", title=HOSTILE, input=given), job(HOSTILE, HOSTILE, HOSTILE, HOSTILE))


def strange_pairs() -> Iterator[Pair]:
    for name, piece in PIECES.items():
        text = piece * (1_000 // len(piece))
        yield pair_of(job(name, "Fine.", "Fine", title=name), job(name, text, text))


def comparison(*pairs: Pair) -> Comparison:
    return Comparison(
        replay_id="20261129-160000-ab12",
        made_at=datetime(2026, 11, 29, 16, tzinfo=UTC),
        settings={"model": HOSTILE, "prompt": HOSTILE},
        pairs=ordered(pairs),
        budget_usd=Decimal(1),
        spent_usd=Decimal("0.0123"),
        stopped=HOSTILE,
        prompt=HOSTILE,
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "replay.html"
    path.write_text(page_of(comparison(*pairs()), "https://example.com/prod"), encoding="utf-8")
    return path


@pytest.fixture
def faults() -> list[str]:
    """What has gone wrong in the browser, or was asked for from elsewhere."""
    return []


@pytest.fixture
def page(browser: Browser, file: Path, faults: list[str]) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce") as context:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("console", lambda line: faults.append(line.text))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: faults.append(asked.url) if asked.url != file.as_uri() else None)
        page.goto(file.as_uri())
        yield page


def width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_texts_are_shown_as_texts_whatever_they_are(page: Page, faults: list[str]) -> None:
    assert page.locator("script, img, iframe, object, form, [onerror], a[href^=javascript]").count() == 0
    assert page.locator("style").count() == 1
    expect(page.get_by_text("<script>alert(1)</script>").first).to_be_visible()
    text = page.locator("body").inner_text()
    assert not any(character in text for character in "\x1b\u202e\u2066\x00")
    assert page.title().startswith("Replay of")
    links = page.locator("a:not([href^='#'])").evaluate_all("links => links.map(link => link.href)")
    assert links
    assert all(link.startswith("https://example.com/prod/queue#/jobs/") for link in links)
    assert faults == []


def test_a_script_that_got_in_would_not_run(browser: Browser, file: Path, tmp_path: Path) -> None:
    attack = (
        "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\"><style>*{color:red}</style>"
    )
    broken = tmp_path / "broken.html"
    broken.write_text(file.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}", 1), encoding="utf-8")
    with browser.new_context() as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("requestfinished", lambda request: asked.append(request.url))
        page.goto(broken.as_uri())

        assert page.title().startswith("Replay of")
        assert page.locator("h1").evaluate("title => getComputedStyle(title).color") != "rgb(255, 0, 0)"
        assert asked == [broken.as_uri()]


@pytest.mark.parametrize("pixels", [360, 768, 1440, 2560])
def test_fits_the_window(page: Page, pixels: int) -> None:
    page.set_viewport_size({"width": pixels, "height": 900})

    assert width(page) <= pixels
    assert page.locator("h1").is_visible()


def test_no_script_of_the_world_widens_the_page(browser: Browser, tmp_path: Path) -> None:
    strange = tmp_path / "strange.html"
    strange.write_text(page_of(comparison(*strange_pairs())), encoding="utf-8")
    with browser.new_context(viewport={"width": 360, "height": 900}) as context:
        page = context.new_page()
        page.goto(strange.as_uri())

        assert page.locator("article").count() == len(PIECES)
        assert width(page) <= 360
        page.set_viewport_size({"width": 2560, "height": 900})
        assert width(page) <= 2560
        assert page.locator("a:not([href^='#'])").count() == 0


@pytest.mark.parametrize(("pixels", "scheme"), [(360, "light"), (1440, "dark")])
def test_axe_finds_nothing(page: Page, pixels: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": pixels, "height": 900})
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    page.evaluate(AXE)

    found = page.evaluate("axe.run(document)")["violations"]

    assert [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found] == []


def test_what_changed_is_marked_side_by_side(page: Page) -> None:
    article = page.locator("article", has_text="policy.docx").first
    sides = article.locator(".pair").first.locator(".side")

    expect(sides.first.locator("del")).to_have_text("locked")
    expect(sides.last.locator("ins")).to_have_text("shut")
    boxes = [sides.nth(number).bounding_box() for number in range(2)]
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    expect(article).to_contain_text("quotes in the text: 2 of 2, then 0 of 1")
    expect(article).to_contain_text("answers that were rejected: 0, then 1")


def test_the_worst_come_first_and_can_be_seen_alone(page: Page) -> None:
    verdicts = page.locator("article .verdict").all_inner_texts()
    order = ["worse", "mixed", "better", "same", "not run"]
    assert verdicts == sorted(verdicts, key=order.index)
    assert {"worse", "better", "same", "not run"} <= set(verdicts)

    page.get_by_label("Better or mixed").check()
    expect(page.locator("article:visible")).to_have_count(verdicts.count("better") + verdicts.count("mixed"))
    expect(page.locator("tbody tr[data-job]:visible")).to_have_count(verdicts.count("better") + verdicts.count("mixed"))
    page.get_by_label("Not completed").check()
    expect(page.locator("article:visible")).to_have_count(2)
    page.get_by_label("Answer the same").check()
    expect(page.locator("article:visible h3", has_text="same.docx")).to_have_count(1)
    page.get_by_label("All").check()
    expect(page.locator("article:visible")).to_have_count(len(verdicts))


def test_paper_has_all_of_it_within_its_width(page: Page) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})

    expect(page.locator("fieldset")).to_be_hidden()
    unchanged = page.locator("article", has_text="same.docx").locator("details")
    expect(unchanged.get_by_text("Same.", exact=True)).to_be_visible()
    assert width(page) <= 794
