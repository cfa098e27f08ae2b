"""Settings are frozen dataclasses, read from a mapping that is passed in, never from a global."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from jobchain.errors import SettingsError

S = TypeVar("S")


def load_settings(cls: type[S], environment: Mapping[str, str]) -> S:
    """A `cls` whose fields come from the variables of the same name in capitals.

    An empty variable counts as absent, as CloudFormation cannot leave one out.
    Raises SettingsError that names every variable that is missing or cannot be used.
    """
    values = {
        field.name: environment[field.name.upper()]
        for field in fields(cls)  # type: ignore[arg-type]  # every settings class is a dataclass
        if environment.get(field.name.upper())
    }
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        problems = (f"{str(e['loc'][0]).upper()} ({e['msg']})" for e in error.errors(include_input=False))
        raise SettingsError(f"environment variables to set or correct: {', '.join(problems)}") from None
