"""The pages, through the gateway: what a browser would load, and under which policy."""

import re

import httpx2
import pytest

PAGES = ("docs", "redoc", "queue")


def links(page: httpx2.Response) -> list[str]:
    """What the page loads; other links are for people."""
    return re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)


@pytest.mark.parametrize("name", PAGES)
class TestAPage:
    def test_is_html_under_a_strict_policy(self, http: httpx2.Client, name: str) -> None:
        page = http.get(name)

        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        scripts = "'sha256-" if name == "queue" else "'self';"
        assert f"default-src 'none'; script-src {scripts}" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"

    def test_finds_all_that_it_loads(self, http: httpx2.Client, name: str) -> None:
        page = http.get(name)

        answers = [http.get(page.url.join(link)) for link in links(page)]

        if name == "queue":
            assert not answers, "its files are in it"
            return
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["Content-Type"].partition(";")[0] for answer in answers} == {
            "image/svg+xml",
            "text/css",
            "text/javascript",
        }

    def test_is_not_sent_twice(self, http: httpx2.Client, name: str) -> None:
        etag = http.get(name).headers["ETag"]

        repeated = http.get(name, headers={"If-None-Match": etag})

        assert (repeated.status_code, repeated.content) == (304, b"")

    def test_has_a_head(self, http: httpx2.Client, name: str) -> None:
        head = http.head(name)

        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["ETag"] == http.get(name).headers["ETag"]

    def test_takes_no_post(self, http: httpx2.Client, name: str) -> None:
        refused = http.post(name, json={})

        assert refused.status_code == 405
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["Allow"] == "GET, HEAD"
        assert refused.json()["type"] == "urn:jobchain:problem:method-not-allowed"

    def test_is_found_with_a_slash_at_its_end(self, http: httpx2.Client, name: str) -> None:
        assert http.get(f"{name}/", follow_redirects=True).url == http.get(name).url


@pytest.mark.parametrize("path", ["assets/nothing.js", "assets/%2e%2e/handler.py"])
def test_what_is_no_file_of_a_page_is_a_problem(http: httpx2.Client, path: str) -> None:
    missing = http.get(path)

    assert missing.status_code == 404
    assert missing.headers["Content-Type"] == "application/problem+json"
    assert missing.json()["type"] == "urn:jobchain:problem:path-not-found"
