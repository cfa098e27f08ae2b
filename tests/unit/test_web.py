"""The web function: the pages' files and nothing else, under a policy that lets a page load only what is ours."""

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from jobchain.outcomes import ERROR_TYPES
from jobchain_cli.advice import ADVICE, UNKNOWN
from jobchain_offline.answering import MODEL
from jobchain_web import handler
from jobchain_web.site import Site
from tests.conftest import ROOT
from tests.fakes import FakeContext

FOLDER = ROOT / "functions" / "web" / "jobchain_web" / "static"
SITE = Site(FOLDER)
PAGES = sorted(f"/{page.stem}" for page in FOLDER.glob("*.html"))
LATER = [path for path in SITE.paths if path.startswith("/assets/later/")]
"""The scripts that the dashboard loads when it needs them."""
ASSETS = [path for path in SITE.paths if path not in PAGES and path not in LATER]
OWN = [path for path in ASSETS if "/vendor/" not in path]
VENDORED = [path for path in ASSETS if "/vendor/" in path]
SAMPLE: dict[str, Any] = json.loads((ROOT / "events" / "web_docs.json").read_text())
MAX_LAMBDA_ANSWER = 6 * 1024 * 1024
"""Bytes: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
FRAME = "/queue-diagram"
"""The page that draws diagrams in a frame of the dashboard."""
INLINED = "/queue"
"""The page that has all its files in it."""


def event(path: str, method: str = "GET", headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What the gateway makes of a request for `path`."""
    changed = {**SAMPLE, "resource": path, "path": path, "httpMethod": method, "headers": headers or {}}
    if path.startswith("/assets/"):
        proxy = {"proxy": path.removeprefix("/assets/")}
        changed |= {"resource": "/assets/{proxy+}", "pathParameters": proxy}
    return changed


def get(path: str, method: str = "GET", **headers: str) -> dict[str, Any]:
    return SITE.answer(event(path, method, {name.replace("_", "-"): value for name, value in headers.items()}))


def policy(path: str) -> dict[str, list[str]]:
    """The directives of a file's Content-Security-Policy, with their sources."""
    directives = (part.split() for part in get(path)["headers"]["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in directives}


def hash_source(text: str) -> str:
    """How a policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def problem(response: dict[str, Any], kind: str) -> dict[str, Any]:
    """The body of an answer that has to be a problem."""
    body: dict[str, Any] = json.loads(response["body"])
    assert response["headers"]["Content-Type"] == "application/problem+json"
    assert body["type"] == f"urn:jobchain:problem:{kind}"
    assert body["status"] == response["statusCode"]
    assert body["request_id"] == SAMPLE["requestContext"]["requestId"]
    assert body["title"]
    assert body["detail"]
    return body


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.html: str = get(path)["body"]
        self.lang: str | None = None
        self.title = ""
        self.links: list[str] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        values = dict(attrs)
        self.lang = values.get("lang") or self.lang
        self.links += [value for name, value in attrs if name in ("src", "href") and value]
        self.inline += [name for name in values if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._open == "title":
            self.title += data.strip()
        if self._open in ("script", "style") and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def test_there_is_a_page_for_each_way_to_read_the_contract_and_the_dashboard() -> None:
    assert {"/docs", "/redoc", "/queue", FRAME} == set(PAGES)


@pytest.mark.parametrize("path", PAGES)
class TestAPage:
    def test_is_html_that_is_asked_for_again_each_time(self, path: str) -> None:
        response = get(path)

        assert response["statusCode"] == 200
        assert response["headers"]["Content-Type"] == "text/html; charset=utf-8"
        assert response["headers"]["Cache-Control"] == "no-cache"
        assert response["body"].startswith("<!doctype html>")

    def test_says_its_title_and_its_language(self, path: str) -> None:
        assert Page(path).title
        assert Page(path).lang == "en"

    def test_has_no_script_and_no_style_in_it_but_those_that_its_policy_names_by_their_hash(self, path: str) -> None:
        allowed = {
            source for name in ("script-src", "style-src") for source in policy(path)[name] if "sha256" in source
        }

        inline = Page(path).inline

        assert bool(inline) == (path == INLINED)
        assert {hash_source(text) for text in inline} <= allowed

    def test_loads_files_that_are_there_by_relative_paths(self, path: str) -> None:
        links = {link for link in Page(path).links if link not in ("docs", "openapi.json") and link[0] != "#"}

        files = {link for link in links if not link.startswith("data:")}
        assert links
        assert {f"/{link}" for link in files} <= set(ASSETS)
        assert bool(files) == (path != INLINED)

    def test_may_load_and_run_only_what_is_ours(self, path: str) -> None:
        allowed = policy(path)

        assert allowed["default-src"] == ["'none'"]
        assert "'unsafe-inline'" not in allowed["script-src"]
        if path == INLINED:
            assert all(source.startswith("'sha256-") for source in allowed["script-src"] + allowed["style-src"])
        else:
            assert allowed["script-src"] == ["'self'"]
        assert all(allowed[name] == ["'none'"] for name in ("base-uri", "form-action"))
        if path != FRAME:
            assert allowed["connect-src"] == ["'self'"]
            assert allowed["img-src"] == ["'self'", "data:"]
            assert allowed["frame-ancestors"] == ["'none'"]
            assert "'unsafe-inline'" not in allowed["style-src"]

    def test_moves_from_its_path_with_a_slash(self, path: str) -> None:
        # Some gateways take both for the same route; relative links would lead astray from there.
        response = SITE.answer({**event(path), "path": f"{path}/"})

        assert response["statusCode"] == 308
        assert response["headers"]["Location"] == f"..{path}"


@pytest.mark.parametrize("path", ASSETS)
class TestAnAsset:
    def test_has_its_files_text(self, path: str) -> None:
        assert get(path)["statusCode"] == 200
        assert get(path)["body"] == (FOLDER / path.removeprefix("/assets/")).read_text(encoding="utf-8")

    def test_says_what_it_is(self, path: str) -> None:
        types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}

        assert get(path)["headers"]["Content-Type"].partition(";")[0] == types[Path(path).suffix]

    def test_fits_into_an_answer_of_lambda(self, path: str) -> None:
        assert len(json.dumps(get(path))) < MAX_LAMBDA_ANSWER


@pytest.mark.parametrize("path", VENDORED)
class TestAVendoredFile:
    def test_may_be_kept_for_ever_as_its_path_has_its_version(self, path: str) -> None:
        assert get(path)["headers"]["Cache-Control"] == "public, max-age=31536000, immutable"
        assert re.search(r"-\d+\.\d+\.\d+/", path)

    def test_is_of_the_version_that_is_locked(self, path: str) -> None:
        lock = json.loads((ROOT / "functions" / "web" / "package-lock.json").read_text())
        package, _, version = path.split("/")[3].rpartition("-")

        assert lock["packages"][f"node_modules/{package}"]["version"] == version

    def test_asks_for_nothing_that_is_not_there(self, path: str) -> None:
        body = get(path)["body"]

        assert not re.search(r"^(//|/\*)# sourceMappingURL=", body, re.MULTILINE)
        assert "cdn.redoc.ly" not in body


def test_our_own_files_are_asked_for_again_each_time() -> None:
    assert {get(path)["headers"]["Cache-Control"] for path in OWN} == {"no-cache"}


@pytest.mark.parametrize("package", sorted({path.rpartition("/")[0] for path in VENDORED}))
def test_a_vendored_package_has_its_licence(package: str) -> None:
    assert f"{package}/LICENSE.txt" in VENDORED


@pytest.mark.parametrize("path", SITE.paths)
class TestAnyFile:
    def test_is_told_apart_from_all_others(self, path: str) -> None:
        tags = [get(other)["headers"]["ETag"] for other in SITE.paths]

        assert tags.count(get(path)["headers"]["ETag"]) == 1

    def test_is_not_guessed_at_nor_told_about(self, path: str) -> None:
        headers = get(path)["headers"]

        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["Referrer-Policy"] == "no-referrer"

    def test_gives_no_handle_to_a_page_that_opens_it_as_a_window(self, path: str) -> None:
        headers = get(path)["headers"]

        window = path in ("/queue", "/docs", "/redoc")
        assert headers.get("Cross-Origin-Opener-Policy") == ("same-origin" if window else None)

    def test_is_not_sent_to_somebody_who_has_it(self, path: str) -> None:
        whole = get(path)
        repeated = get(path, If_None_Match=whole["headers"]["ETag"])

        assert repeated == {**whole, "statusCode": 304, "body": ""}

    def test_has_the_same_head_without_its_text(self, path: str) -> None:
        assert get(path, "HEAD") == {**get(path), "body": ""}

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def test_refuses_other_methods(self, path: str, method: str) -> None:
        response = get(path, method)

        assert response["statusCode"] == 405
        assert response["headers"]["Allow"] == "GET, HEAD"
        problem(response, "method-not-allowed")


@pytest.mark.parametrize("known", ["*", 'W/{etag}, "other"', '"other", {etag}'])
def test_any_form_of_if_none_match_is_understood(known: str) -> None:
    etag = get("/docs")["headers"]["ETag"]

    assert get("/docs", if_none_match=known.format(etag=etag))["statusCode"] == 304


def test_another_version_is_replaced() -> None:
    assert get("/docs", If_None_Match='"other"')["statusCode"] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/docs.html",
        "/assets/docs.js/",
        "/assets/nothing.js",
        "/assets/vendor",
        "/assets/../docs.html",
        "/assets/../handler.py",
        "/assets/vendor/../docs.js",
        "/assets/..%2Fhandler.py",
        "/assets//etc/passwd",
        "/assets/docs.js\x00",
        "/nothing",
        "/docs.html",
        "/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_is_there(path: str, method: str) -> None:
    response = get(path, method)

    assert response["statusCode"] == 404
    problem(response, "path-not-found")


def test_only_files_of_known_types_are_served(tmp_path: Path) -> None:
    for name in ("page.html", "page.js", ".DS_Store", "page.js.bak", "notes.md"):
        (tmp_path / name).write_text(name)
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "demo.html").write_text("not a served page")

    assert Site(tmp_path).paths == ["/assets/page.js", "/page"]


def test_only_the_search_of_redoc_may_start_a_worker() -> None:
    assert {path for path in SITE.paths if "worker-src" in policy(path)} == {"/redoc"}


class TestTheDiagramsFrame:
    def test_has_no_origin_no_network_and_no_images(self) -> None:
        allowed = policy(FRAME)

        assert allowed["sandbox"] == ["allow-scripts"]
        assert all(allowed[name] == ["'none'"] for name in ("connect-src", "img-src", "font-src"))

    def test_may_stand_in_our_own_pages_and_only_the_dashboard_has_frames(self) -> None:
        assert policy(FRAME)["frame-ancestors"] == ["'self'"]
        assert {path: policy(path)["frame-src"] for path in PAGES if "frame-src" in policy(path)} == {
            "/queue": ["'self'"]
        }

    def test_is_the_only_file_that_may_have_a_style_inline(self) -> None:
        assert [path for path in SITE.paths if "'unsafe-inline'" in str(policy(path))] == [FRAME]


class TestTheDashboard:
    """`/queue`: one document, but for what its frame loads."""

    def test_is_one_request_with_its_files_in_it_but_for_those_that_are_needed_later(self) -> None:
        html = get("/queue")["body"]
        later = "".join(get(path)["body"] for path in LATER)

        apart = {"diagram.css", "diagram.js"}  # the frame's
        for file in (FOLDER / "queue").iterdir():
            name = f"${file.stem.replace('-', '_')} "
            if file.name in apart:
                continue
            if file.suffix == ".js" and file.stem != "theme":
                in_page, in_script = f"const {name}= (() => {{" in html, f"const {name}= $modules." in later
            else:
                text = file.read_text()
                in_page, in_script = text in html, json.dumps(text) in later
            assert in_page is not in_script, file.name

    def test_is_less_than_60_kb_of_our_own_and_120_in_all(self) -> None:
        html = get("/queue")["body"]
        charts = next((FOLDER / "vendor").glob("uplot-*/uPlot.iife.min.js")).read_text()

        assert charts in html
        assert len(html.encode()) < 120 * 1024
        assert len(html.replace(charts, "").encode()) < 60 * 1024
        assert "mermaid.tiny" not in html

    def test_never_makes_markup_of_a_text(self) -> None:
        for file in (FOLDER / "queue").glob("*.js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", file.read_text())


@pytest.mark.parametrize("path", LATER)
class TestAScriptThatIsLoadedLater:
    def test_is_allowed_by_the_hash_of_its_text_and_loaded_by_its_path(self, path: str) -> None:
        body = get(path)["body"]
        pages = get("/queue")["body"] + "".join(get(other)["body"] for other in LATER)

        assert hash_source(body) in policy("/queue")["script-src"]
        assert f'"{path[1:]}"' in pages
        assert len(body.encode()) < 60 * 1024

    def test_may_be_kept_for_ever_as_its_path_has_its_hash(self, path: str) -> None:
        headers = get(path)["headers"]

        assert headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert path.split(".")[-2] == hashlib.sha256(get(path)["body"].encode()).hexdigest()[:16]

    def test_is_there_for_an_instance_that_has_served_no_page(self, path: str) -> None:
        assert Site(FOLDER).answer(event(path)) == get(path)

    def test_of_another_version_is_not_there(self, path: str) -> None:
        assert SITE.answer(event(path.replace(".js", "0.js")))["statusCode"] == 404


def test_the_dashboard_says_what_to_do_about_every_type_of_error() -> None:
    # given the types of jobs' errors, those that the code gives to calls, and those that the documentation names
    sources = [*(ROOT / "layers" / "common" / "jobchain").rglob("*.py"), *(ROOT / "functions" / "worker").rglob("*.py")]
    code = "\n".join(file.read_text() for file in sources)
    given = re.findall(r'\b(?:type_=|PermanentModelError\(\s*|_Fault\(\s*)"([a-z_]+)"', code)
    reference = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    named = re.findall(r"^- `outcome` is [^;]*;(.*?)\n- ", reference, re.MULTILINE | re.DOTALL)[0]
    table = "".join(re.findall(r"\| outcome \|.*?\n\n", reference, re.DOTALL))
    known = {*ERROR_TYPES, *given, *re.findall(r"`([a-z_]+)`", named), *re.findall(r"`(model_[a-z_]+)`", table)}
    assert len(known) > 25

    # when one looks for advice
    advice = (FOLDER / "queue" / "advice.js").read_text()
    told = set(re.findall(r"^  ([a-z_]+): \"", advice, re.MULTILINE))

    # then there is some for each
    assert known - told == set()
    assert told - known == set()


def test_the_dashboard_and_the_command_line_say_the_same_about_a_failed_job() -> None:
    advice = (FOLDER / "queue" / "advice.js").read_text()
    jobs = re.findall(r'^  ([a-z_]+): "(.*)",$', advice.partition("const CALLS")[0], re.MULTILINE)

    assert dict(jobs) == ADVICE
    assert f'const OPERATOR = "{UNKNOWN}";' in advice


def test_a_base_path_of_a_custom_domain_changes_nothing() -> None:
    assert SITE.answer({**event("/docs"), "path": "/base/docs"}) == get("/docs")


class TestTheHandler:
    @pytest.fixture
    def log(self) -> Iterator[io.StringIO]:
        """What the function has logged."""
        log = io.StringIO()
        handler.logger.registered_handler.setStream(log)  # type: ignore[attr-defined]
        yield log
        handler.logger.registered_handler.setStream(sys.stdout)  # type: ignore[attr-defined]

    def test_answers_its_sample(self) -> None:
        assert handler.lambda_handler(SAMPLE, cast(LambdaContext, FakeContext())) == get("/docs")

    def test_logs_one_line_without_the_path_which_is_the_callers(self, log: io.StringIO) -> None:
        handler.lambda_handler(event("/assets/private"), cast(LambdaContext, FakeContext()))

        line = json.loads(log.getvalue())
        assert (line["method"], line["status"]) == ("GET", 404)
        assert line["request_id"] == SAMPLE["requestContext"]["requestId"]
        assert "private" not in log.getvalue()


class TestTheModelInTheHeader:
    @staticmethod
    def header(model: str) -> str:
        page: str = Site(FOLDER, model).answer(event("/queue"))["body"]
        found: str
        (found,) = re.findall(r"<p id=\"model\".*?</p>\n?\s*</header>|</header>", page, re.DOTALL)
        return found

    def test_is_that_of_the_deployment(self) -> None:
        assert ">gpt-6-luna</p>" in self.header("gpt-6-luna")

    def test_is_told_in_words_where_it_is_the_offline_one(self) -> None:
        assert ">The offline model answers: it copies sentences by rules, and is no GPT.</p>" in self.header(MODEL)

    def test_is_shown_as_it_is(self) -> None:
        assert "&lt;img src=x&gt;" in self.header("<img src=x>")
        assert "<img" not in self.header("<img src=x>")

    def test_tells_anybody_no_number_of_the_account(self) -> None:
        arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2c3"

        assert ">a1b2c3</p>" in self.header(arn)
        assert "123456789012" not in Site(FOLDER, arn).answer(event("/queue"))["body"]

    def test_is_left_out_where_it_is_not_known(self) -> None:
        assert self.header("") == "</header>"

    def test_changes_the_version_of_the_page(self) -> None:
        one, other = (Site(FOLDER, model).answer(event("/queue"))["headers"]["ETag"] for model in ("one", "other"))

        assert one != other
