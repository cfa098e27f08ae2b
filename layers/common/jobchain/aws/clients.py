"""Clients of AWS's services. They are botocore's: boto3 adds nothing to a client but the time of its import."""

from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session, get_session

MODELS = Path(__file__).with_name("aws_models")
"""The few of botocore's files that the functions need: `make build` puts them there."""

SERVICES = ("dynamodb", "secretsmanager", "sqs")
"""The services that functions call."""

# Together an eighth of a call's time. The service itself checks the parameters of every call, and the tests check them
# here. The long user agent would be composed again for each call.
_LEAN = Config(parameter_validation=False, user_agent="jobchain")


def create_session(models: Path = MODELS) -> Session:
    """A session that reads the services' models from `models` where it exists, else from botocore's own files.

    Those hold 400 services with their manuals; a client's start looks through all of them.
    """
    session = get_session()
    if models.is_dir():
        session.register_component("data_loader", Loader([str(models)], include_default_search_paths=False))
    return session


def aws_client(session: Session, service: str, config: Config) -> Any:
    """A client for the account and the region that the environment names."""
    return session.create_client(service, config=config.merge(_LEAN))
