"""The pages, through the gateway. What a browser loads, and under which policy: tests/conformance/test_callers.py."""

import httpx2
import pytest

PAGES = ("docs", "redoc", "queue")


@pytest.mark.parametrize("name", PAGES)
class TestAPage:
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
