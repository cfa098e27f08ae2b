"""How the model is called for a step."""

from typing import NamedTuple


class CallOptions(NamedTuple):
    """How the model is called for a step; None leaves it to the deployment and the model.

    `max_output_tokens` is the room for the answer, with what a model needs to reason before it. Providers count it
    against the limits of the account, used or not. An answer that it cuts off is asked for again with all the room that
    the settings allow; without it, that is the room of each call. `fallback_model` is asked in place of the model while
    that has an outage.
    """

    model: str | None = None
    effort: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    fallback_model: str | None = None


NO_OPTIONS = CallOptions()
