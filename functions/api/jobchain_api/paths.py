"""The paths of the API, and what may be asked of each."""

ALLOWED_METHODS = {
    "/jobs": ("GET", "HEAD", "POST"),
    "/jobs/batch": ("POST",),
    "/jobs/<event_id>": ("GET", "HEAD", "DELETE"),
    "/jobs/<event_id>/events": ("GET", "HEAD"),
    "/jobs/<event_id>/cancel": ("POST",),
    "/jobs/<event_id>/retry": ("POST",),
    "/jobs/<event_id>/fork": ("POST",),
    "/jobs/<event_id>/steps/<step>/decision": ("POST",),
    "/chains": ("GET", "HEAD"),
    "/stats": ("GET", "HEAD"),
    "/usage": ("GET", "HEAD"),
    "/webhooks": ("GET", "HEAD", "POST"),
    "/webhooks/<endpoint_id>": ("DELETE",),
    "/webhooks/<endpoint_id>/rotate": ("POST",),
    "/webhooks/<endpoint_id>/enable": ("POST",),
    "/webhooks/<endpoint_id>/test": ("POST",),
    "/deliveries": ("GET", "HEAD"),
    "/deliveries/<webhook_id>": ("GET", "HEAD"),
    "/deliveries/<webhook_id>/redeliver": ("POST",),
    "/health": ("GET", "HEAD"),
    "/mcp": ("POST",),
    "/openapi.json": ("GET", "HEAD"),
}
PUBLIC_PATHS = ("/health", "/openapi.json")
"""The paths that require no authentication."""


def route_of(path: str) -> str:
    """The route of a path, such as `/jobs/<event_id>`; empty for none. The path itself may be anything."""
    parts = path.strip("/").split("/")
    for route in ALLOWED_METHODS:
        names = route.strip("/").split("/")
        if len(names) == len(parts) and all(map(_matches, names, parts)):
            return route
    return ""


def _matches(name: str, part: str) -> bool:
    return name in (part, "<event_id>", "<endpoint_id>", "<webhook_id>", "<step>")
