"""The few calls of the HTTP API that the demo and the evaluations make."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from local.errors import LocalError

TIMEOUT = 30.0  # seconds, for the first request starts a process


class ApiError(LocalError):
    """The API refused a request or did not answer; says why, and the request's id."""


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Talks to one API, directly: no proxy setting is heeded."""

    api_url: str

    def create_job(self, text: str) -> str:
        """Post a text; gives the job's `event_id`. Raises ApiError."""
        created = self._call("POST", "/jobs", {"input_text": text})
        return str(created["event_id"])

    def create_jobs(self, jobs: Sequence[dict[str, Any]]) -> list[str]:
        """Post a batch; gives each job's `event_id`, in order. Raises ApiError, also where one alone is refused."""
        results = self._call("POST", "/jobs/batch", {"jobs": list(jobs)})["results"]
        for number, result in enumerate(results):
            if "event_id" not in result:
                raise ApiError(f"POST /jobs/batch: entry {number}: {result.get('detail') or result.get('title')}")
        return [str(result["event_id"]) for result in results]

    def job(self, event_id: str) -> dict[str, Any]:
        """The job as it is now. Raises ApiError."""
        return self._call("GET", f"/jobs/{quote(event_id, safe='')}")

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        url = urlsplit(self.api_url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, url.path + path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return read_answer(f"{method} {path}", response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path}: no answer from {url.netloc} ({error})") from error
        finally:
            connection.close()


def read_answer(request: str, status: int, content: bytes) -> dict[str, Any]:
    """The JSON object of a good answer. Raises ApiError with the problem of any other."""
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status < 400 and isinstance(answer, dict):
        return answer
    problem = answer if isinstance(answer, dict) else {}
    detail = problem.get("detail") or problem.get("title") or problem.get("message") or "no problem described"
    where = "".join(f"\n  {place}: {why}" for place, why in (problem.get("errors") or {}).items())
    raise ApiError(f"{request}: {status}, {detail}{where} (request {problem.get('request_id', 'without an id')})")
