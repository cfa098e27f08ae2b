"""The OpenAPI document of the API, made when the project is built: the api function serves the file as it is."""

from local.openapi.builder import document

__all__ = ["document"]
