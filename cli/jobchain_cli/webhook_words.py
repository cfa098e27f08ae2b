"""Endpoints and deliveries as a person reads them. What a receiver answered controls no terminal."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from jobchain_cli.words import columns, in_one_line
from jobchain_client import Delivery, Endpoint, NewEndpoint

# Of a message in a table.
_MESSAGE_WIDTH = 60


def endpoint_lines(endpoints: Iterable[Endpoint]) -> Iterator[str]:
    """A table of endpoints."""
    rows = [
        (
            endpoint.endpoint_id,
            _where(endpoint),
            ", ".join(endpoint.events) or "all",
            ", ".join(endpoint.chains) or "all",
            _state(endpoint),
        )
        for endpoint in endpoints
    ]
    return columns([("ENDPOINT ID", "ADDRESS", "EVENTS", "CHAINS", "STATE"), *rows])


def _where(endpoint: Endpoint) -> str:
    return endpoint.url or "(the URLs that jobs name)"


def _state(endpoint: Endpoint) -> str:
    if endpoint.disabled_at is None:
        return "enabled"
    why = f": {endpoint.disabled_because}" if endpoint.disabled_because else ""
    return f"disabled {endpoint.disabled_at:%Y-%m-%d %H:%M}{why}"


def created_lines(made: NewEndpoint) -> Iterator[str]:
    """What is to be known of an endpoint that was just created, without its secret."""
    events, chains = ", ".join(made.events) or "all events", ", ".join(made.chains) or "all chains"
    yield in_one_line(f"Endpoint {made.endpoint_id} gets {events} of {chains}, at {_where(made)}.")
    yield "It gets events of jobs that are created from a minute from now on."
    yield "Its secret is shown this once and never again: store it safely."


def delivery_table(deliveries: Iterable[Delivery]) -> Iterator[str]:
    """A table of deliveries."""
    rows = [
        (
            delivery.webhook_id,
            delivery.type,
            delivery.endpoint_id,
            delivery.state,
            str(delivery.tries),
            f"{delivery.created_at:%Y-%m-%d %H:%M:%S}",
            _short(_answer(delivery)),
        )
        for delivery in deliveries
    ]
    return columns([("WEBHOOK ID", "EVENT", "ENDPOINT ID", "STATE", "TRIES", "CREATED (UTC)", "LAST ANSWER"), *rows])


def _answer(delivery: Delivery) -> str:
    """The last answer in one line: its status, if there was one, and what the receiver or the sender said."""
    told = [str(delivery.last_status) if delivery.last_status is not None else "", delivery.last_message or ""]
    return in_one_line(" ".join(filter(None, told)))


def _short(text: str) -> str:
    return text if len(text) <= _MESSAGE_WIDTH else f"{text[: _MESSAGE_WIDTH - 1]}…"


def delivery_lines(delivery: Delivery) -> Iterator[str]:
    """A delivery with its body."""
    yield in_one_line(f"Delivery {delivery.webhook_id} ({delivery.type}): {delivery.state}")
    at = f", at {delivery.url}" if delivery.url else ""
    yield f"  {in_one_line(f'to {delivery.endpoint_id}{at}')}"
    if delivery.event_id:
        yield f"  of job {in_one_line(delivery.event_id)}"
    tries = "1 try" if delivery.tries == 1 else f"{delivery.tries} tries"
    yield f"  created {_moment(delivery.created_at)}, {tries}"
    if delivery.last_at:
        yield f"  last try {_moment(delivery.last_at)}: {_answer(delivery) or 'no answer'}"
    if delivery.next_at:
        yield f"  next try {_moment(delivery.next_at)}"
    if delivery.body is not None:
        yield json.dumps(delivery.body, indent=2)


def outcome_line(delivery: Delivery) -> str:
    """What became of a delivery's first try, in one line."""
    name = in_one_line(f"{delivery.webhook_id} ({delivery.type})")
    if not delivery.tries:
        return f"{name} is sent, and was not tried yet."
    if delivery.state == "delivered":
        return f"{name} is delivered: the receiver answered {_answer(delivery) or 'without a status'}."
    after = f", tried again at {_moment(delivery.next_at)}" if delivery.next_at else ", given up"
    return f"{name} failed: {_answer(delivery) or 'no answer'}{after}."


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
