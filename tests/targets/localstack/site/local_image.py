"""Where no registry is in reach: LocalStack takes the image that functions run in from the engine.

It would fetch it, even one that is there. This is a hook of LocalStack's own that runs before it does.
"""

from importlib import import_module
from typing import Any

from localstack.services.lambda_ import hooks  # type: ignore[import-not-found]


@hooks.prepare_docker_executor()  # type: ignore[untyped-decorator]
def take_local_image(function_version: Any) -> None:
    executor = import_module("localstack.services.lambda_.invocation.docker_runtime_executor")  # it imports the hooks
    image = executor.resolver.get_image_for_runtime(function_version.config.runtime)
    executor.CONTAINER_CLIENT.inspect_image(image, pull=False)
    platform = executor.docker_platform(function_version.config.architectures[0])
    executor.PULLED_IMAGES.add((image, platform))
