"""Finds the model's last day, in the way of its provider. For the check of the model, which few invocations make."""

from datetime import date, timedelta

from jobchain.aws.calling import Patience
from jobchain.connection import UnusableSetting
from jobchain.errors import ModelSettingsError
from jobchain_worker.openai_models import find_shutdown
from jobchain_worker.worker_settings import WorkerSettings, bedrock_client, model_client, model_url


async def find_model_end(settings: WorkerSettings, aws: Patience, limit: timedelta) -> date | None:
    """The day on which the deployment's model is shut down, None where none is known.

    Raises UnknownModel where there is no such model, and ModelError where the provider does not tell. It makes a client
    for each check: each check has its own event loop, and connections belong to one loop.
    """
    try:
        if settings.model_provider == "bedrock":
            from jobchain.providers import control_url  # noqa: PLC0415
            from jobchain_worker import openai_bedrock_models  # noqa: PLC0415

            url = control_url(model_url(settings), settings.aws_default_region)
            client, _ = bedrock_client(settings, url, limit)
            find = openai_bedrock_models.find_shutdown
        else:
            client, _ = model_client(settings, aws, limit)
            find = find_shutdown
    except UnusableSetting as error:
        raise ModelSettingsError(str(error)) from None
    async with client:
        return await find(client, settings.openai_model, limit)
