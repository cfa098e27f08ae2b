"""Holds answers to the OpenAPI document that the stack itself serves."""

import re
from collections.abc import Mapping
from typing import Any

import httpx2
from jsonschema import Draft202012Validator

_EMPTY = (204, 304)


class Contract:
    """What a document says of answers. `base_url` is what its paths are put behind."""

    def __init__(self, document: Mapping[str, Any], base_url: str) -> None:
        self._document = document
        self._base = httpx2.URL(base_url).path.rstrip("/")
        # A path without a parameter is meant before one with: /jobs/batch is no job.
        by_length = sorted(document["paths"], key=lambda path: ("{" in path, path))
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in by_length]

    def check(self, answer: httpx2.Response) -> None:
        """Fails for an answer that the document does not describe. What it has no operation for may answer as it likes.

        The answer has to be read.
        """
        method, path = answer.request.method, answer.request.url.path.removeprefix(self._base)
        known = next((known for pattern, known in self._paths if pattern.fullmatch(path.rstrip("/"))), None)
        operation = self._document["paths"].get(known, {}).get(method.lower())
        if operation is None:
            return
        what = f"{method} {known} -> {answer.status_code}"
        described = operation["responses"].get(str(answer.status_code))
        assert described is not None, f"{what}: the contract does not name this status: {answer.text[:300]}"
        if answer.status_code in _EMPTY:
            assert answer.content == b"", f"{what}: there is a body"
            return
        content_type = answer.headers.get("Content-Type", "").partition(";")[0]
        assert content_type in described["content"], f"{what}: the contract does not name the type {content_type!r}"
        schema = {**described["content"][content_type]["schema"], "components": self._document["components"]}
        faults = [
            f"{'.'.join(map(str, fault.absolute_path)) or 'the body'}: {fault.message[:200]}"
            for fault in Draft202012Validator(schema).iter_errors(answer.json())
        ]
        assert not faults, f"{what}: {faults}"
