"""Endpoints as callers send and get them."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from jobchain.aws.webhook_endpoints import Endpoint
from jobchain.chains.fields import Sent
from jobchain.webhooks.events import EventType
from jobchain.webhooks.urls import MOST_CHARACTERS
from jobchain_api.created_views import LazyView

MAX_CHAINS = 20


class CreateEndpoint(Sent):
    """A new endpoint: where events of jobs are sent."""

    model_config = ConfigDict(defer_build=True)

    url: Annotated[
        str,
        StringConstraints(min_length=1),
        Field(
            description=f"An https URL of a public server, at port 443 or 8443, of up to {MOST_CHARACTERS} characters.",
            examples=["https://hooks.example.com/jobchain"],
        ),
    ]
    events: Annotated[
        list[EventType],
        Field(
            default_factory=list, max_length=len(EventType), description="The events that it gets. Without any, all."
        ),
    ]
    chains: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=64)]],
        Field(
            default_factory=list,
            max_length=MAX_CHAINS,
            description="The chains whose jobs it gets events of. Without any, all.",
        ),
    ]


class EndpointView(LazyView):
    """An endpoint."""

    endpoint_id: str
    url: str | None = Field(description="Null for the endpoint of the URLs that jobs name themselves.")
    events: list[str] = Field(description="The events that it gets. Empty: all.")
    chains: list[str] = Field(description="The chains whose jobs it gets events of. Empty: all.")
    created_at: str
    disabled_at: str | None
    disabled_because: str | None = Field(description="Why it gets no events.")


class EndpointList(LazyView):
    """The caller's endpoints, the oldest first."""

    endpoints: list[EndpointView]


class SecretView(LazyView):
    """A new secret of an endpoint."""

    secret: str = Field(description="Verifies the signatures of its events. It is shown here alone.")


class EndpointCreated(EndpointView, SecretView):
    """A new endpoint with its secret."""


def endpoint_view(endpoint: Endpoint) -> EndpointView:
    """The endpoint, without its secret."""
    return EndpointView(**_fields(endpoint))


def endpoint_created(endpoint: Endpoint, secret: str) -> EndpointCreated:
    """The endpoint with its secret, which is shown once."""
    return EndpointCreated(**_fields(endpoint), secret=secret)


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in EndpointView.model_fields}
