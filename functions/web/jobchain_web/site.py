"""A static server behind API Gateway: it serves a table of files that is built once, and nothing else."""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jobchain_web.inline import InlinedPage, inlined

_PAGE_TYPE = "text/html; charset=utf-8"
_ASSET_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_METHODS = ("GET", "HEAD")

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
# What a page needs in place of that.
_PAGE_POLICIES = {
    "/redoc": {
        # ReDoc's search runs in a worker that it makes from its own source.
        "worker-src": "blob:",
        # It fills style elements by script, which is allowed, but must add them first: these are the hashes of the
        # empty one and of its scroll bars. For a new version, a browser's console names the missing hash.
        "style-src": "'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "
        "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
    },
    # Its one frame is the page below.
    "/queue": {"frame-src": "'self'"},
    # Draws a model's output in a frame of the dashboard: without an origin, a network, or images. Inline styles are
    # allowed here only, because Mermaid's drawings have them.
    "/queue-diagram": {
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'none'",
        "connect-src": "'none'",
        "font-src": "'none'",
        "frame-ancestors": "'self'",
        "sandbox": "allow-scripts",
    },
}

# Pages that load many small files.
_INLINED = {"/queue"}
_LATER = "/assets/later/"

_OFFLINE = "offline-extract-1-not-a-gpt"

_REVALIDATE = "no-cache"
_IMMUTABLE = "public, max-age=31536000, immutable"

# Over plain http, as on this machine, browsers ignore the first one.
_SECURITY_HEADERS = {"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff"}

Response = dict[str, Any]


class _File:
    """One file of the site, read at its first request."""

    def __init__(
        self, path: Path, content_type: str, cache_control: str, policy: Mapping[str, str] | None = None
    ) -> None:
        self._path = path
        self._content_type = content_type
        self._cache_control = cache_control
        self._policy = {**_POLICY, **(policy or {})}

    @cached_property
    def text(self) -> str:
        return self._path.read_text(encoding="utf-8")

    @cached_property
    def policy(self) -> Mapping[str, str]:
        """The Content-Security-Policy's directives."""
        return self._policy

    @property
    def _is_window(self) -> bool:
        return self._content_type == _PAGE_TYPE and "sandbox" not in self.policy

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers, without those that the gateway adds; a 304 has the same ones."""
        # A page that opens this one gets no handle on it, by which it could count its frames. The page of the diagrams
        # is such a frame.
        window = {"Cross-Origin-Opener-Policy": "same-origin"} if self._is_window else {}
        return {
            **window,
            "Content-Type": self._content_type,
            "ETag": f'"{hashlib.sha256(self.text.encode()).hexdigest()[:32]}"',
            "Cache-Control": self._cache_control,
            "Vary": "Accept-Encoding",  # the gateway compresses
            "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in self.policy.items()),
            "Referrer-Policy": "no-referrer",
        }


class _InlinedPage(_File):
    """A page with its scripts and styles inlined; its policy names each by its hash. Its header ends with `note`."""

    note = ""

    @cached_property
    def _page(self) -> InlinedPage:
        return inlined(self._path)

    @cached_property
    def text(self) -> str:
        return self._page.text.replace("</header>", f"{self.note}</header>", 1)

    @cached_property
    def policy(self) -> Mapping[str, str]:
        return {**self._policy, **self._page.sources}

    @cached_property
    def later(self) -> Mapping[str, "_Script"]:
        """The scripts that the page loads when it needs them, by path."""
        return {f"/assets/{name}": _Script(text) for name, text in self._page.later.items()}


class _Script(_File):
    """A script that is made of several files. Its name has its hash: it never changes."""

    def __init__(self, text: str) -> None:
        super().__init__(Path(), _ASSET_TYPES[".js"], _IMMUTABLE)
        self._text = text

    @cached_property
    def text(self) -> str:
        return self._text


class Site:
    """The files of a folder: `name.html` is the page `/name`, any other file of a known type is below `/assets/`.

    The scripts that a page loads later are below `/assets/later/`.
    """

    def __init__(self, folder: Path, model: str = "") -> None:
        """The dashboard names the `model` that answers, if one is given."""
        self._files = {**dict(_pages(folder)), **dict(_assets(folder))}
        for file in self._files.values():
            if isinstance(file, _InlinedPage):
                file.note = _note(model)

    @property
    def paths(self) -> list[str]:
        """The path of every file."""
        return sorted([*self._files, *self._later])

    @cached_property
    def _later(self) -> Mapping[str, _File]:
        pages = [file for file in self._files.values() if isinstance(file, _InlinedPage)]
        return {path: script for page in pages for path, script in page.later.items()}

    def _file(self, path: str) -> _File | None:
        if path.startswith(_LATER):
            return self._later.get(path)
        return self._files.get(path)

    def answer(self, event: Mapping[str, Any]) -> Response:
        """The response to one request, both in the format of API Gateway's proxy integration."""
        path, method = _path(event), event["httpMethod"]
        if (file := self._file(path)) is None:
            detail = "no file has this path"
            return _problem(event, HTTPStatus.NOT_FOUND, "path-not-found", "There is no such path", detail)
        if method not in _METHODS:
            return _method_not_allowed(event)
        if event["path"].endswith("/"):
            # Below this path the relative links of a page would lead one folder too deep.
            return _response(HTTPStatus.PERMANENT_REDIRECT, {"Location": f"../{path.rpartition('/')[2]}"})
        if _has(event, file.headers["ETag"]):
            return _response(HTTPStatus.NOT_MODIFIED, file.headers)
        return _response(HTTPStatus.OK, file.headers, file.text if method == "GET" else "")


def _note(model: str) -> str:
    if not model:
        return ""
    # Anybody reads the page: the name of an ARN is all of it that is told, as the rest has the account's number.
    name = html.escape(model.rpartition("/")[2] if model.startswith("arn:") else model)
    # Its name is not that of any model to choose: see `jobchain_offline`.
    said = "The offline model answers: it copies sentences by rules, and is no GPT." if model == _OFFLINE else name
    return f'<p id="model" class="muted small foreign" title="The model of steps that name none: {name}">{said}</p>'


def _pages(folder: Path) -> Iterator[tuple[str, _File]]:
    for file in folder.glob("*.html"):
        path = f"/{file.stem}"
        kind = _InlinedPage if path in _INLINED else _File
        yield path, kind(file, _PAGE_TYPE, _REVALIDATE, _PAGE_POLICIES.get(path))


def _assets(folder: Path) -> Iterator[tuple[str, _File]]:
    for file in folder.rglob("*"):
        if content_type := _ASSET_TYPES.get(file.suffix):
            name = file.relative_to(folder)
            # The folder of a vendored package has its version in its name: its files never change.
            cache_control = _IMMUTABLE if name.parts[0] == "vendor" else _REVALIDATE
            yield f"/assets/{name.as_posix()}", _File(file, content_type, cache_control)


def _path(event: Mapping[str, Any]) -> str:
    """The path without the prefix of the API's URL.

    `event["path"]` begins with a custom domain's base path, the matched route does not.
    """
    rest = (event["pathParameters"] or {}).get("proxy", "")
    return str(event["resource"]).replace("{proxy+}", rest)


def _has(event: Mapping[str, Any], etag: str) -> bool:
    """Whether the caller has the current version."""
    headers = event["headers"] or {}
    known: str = next((value for name, value in headers.items() if name.lower() == "if-none-match"), "")
    return known.strip() == "*" or etag in known


def _method_not_allowed(event: Mapping[str, Any]) -> Response:
    allowed = ", ".join(_METHODS)
    detail = f"this path answers to {allowed}"
    response = _problem(event, HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    response["headers"]["Allow"] = allowed
    return response


def _problem(event: Mapping[str, Any], status: HTTPStatus, kind: str, title: str, detail: str) -> Response:
    """An RFC 9457 problem, as the api function's are."""
    body = {
        "type": f"urn:jobchain:problem:{kind}",
        "title": title,
        "status": status.value,
        "detail": detail,
        "request_id": event["requestContext"]["requestId"],
    }
    return _response(status, {"Content-Type": "application/problem+json"}, json.dumps(body))


def _response(status: HTTPStatus, headers: Mapping[str, str], body: str = "") -> Response:
    return {"statusCode": status.value, "headers": {**_SECURITY_HEADERS, **headers}, "body": body}
