"""The events of a job, each a line as soon as it is known."""

from collections.abc import Iterator

from jobchain_cli.errors import Code
from jobchain_cli.words import in_one_line, json_line, spent, waiting
from jobchain_client import Event, Jobchain

_ENDS = {"job.failed": Code.FAILED, "job.cancelled": Code.CANCELLED}


def tell(
    client: Jobchain, event_id: str, after: str | None, poll: float | None, *, follow: bool, as_json: bool
) -> Code:
    """Print the events after a position, up to now or to the end of the job; gives how that ended."""
    last: Event | None = None
    for event in client.events(event_id, after, follow=follow, poll=poll):
        last = event
        # At once, also where the output is a pipe.
        print(json_line({**event.raw, "after": event.after}) if as_json else line(event), flush=True)
    return _ENDS.get(last.type, Code.DONE) if follow and last else Code.DONE


def line(event: Event) -> str:
    """An event in words."""
    at = f"{event.at:%Y-%m-%d %H:%M:%S}.{event.at.microsecond // 1000:03d}"
    return "  ".join([at, f"{in_one_line(event.type):<14}", *map(in_one_line, _words(event))]).rstrip()


def _words(event: Event) -> Iterator[str]:
    if event.step:
        yield event.step
    if event.model:
        yield event.model
    if event.seconds is not None:
        yield f"{event.seconds:.1f} s"
    if event.spending and event.spending.calls:
        yield spent(event.spending.usage, event.spending.cost_usd, event.spending.estimated)
    if event.outcome:
        yield f"{event.outcome}: {event.cause}" if event.cause else event.outcome
    if event.waiting_for:
        yield waiting(event.waiting_for)
    if event.error:
        yield f"{event.error.type}: {event.error.message}"
