"""How settings come from an environment."""

from dataclasses import FrozenInstanceError, dataclass

import pytest

from jobchain.errors import SettingsError
from jobchain.settings import load_settings


@dataclass(frozen=True, slots=True)
class Settings:
    table_name: str
    retention_days: int
    base_url: str | None = None
    tries: int = 3


COMPLETE = {"TABLE_NAME": "jobs", "RETENTION_DAYS": "30"}


def test_a_field_comes_from_the_variable_of_its_name_in_capitals() -> None:
    settings = load_settings(Settings, {**COMPLETE, "BASE_URL": "https://models.example.com/v1"})

    assert settings == Settings("jobs", 30, "https://models.example.com/v1")


def test_a_field_without_a_variable_has_its_default() -> None:
    settings = load_settings(Settings, COMPLETE)

    assert (settings.base_url, settings.tries) == (None, 3)


def test_an_empty_variable_counts_as_absent() -> None:
    settings = load_settings(Settings, {**COMPLETE, "BASE_URL": "", "TRIES": ""})

    assert (settings.base_url, settings.tries) == (None, 3)


def test_variables_that_are_not_ours_are_left_alone() -> None:
    assert load_settings(Settings, {**COMPLETE, "PATH": "/bin", "table_name": "x"}) == Settings("jobs", 30)


@pytest.mark.parametrize("environment", [{}, {"TABLE_NAME": "", "RETENTION_DAYS": ""}])
def test_all_that_is_missing_is_named_at_once(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(Settings, environment)

    assert "TABLE_NAME" in str(caught.value)
    assert "RETENTION_DAYS" in str(caught.value)
    assert "BASE_URL" not in str(caught.value)


def test_a_value_that_cannot_be_used_is_named_with_what_is_missing_and_not_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(Settings, {"RETENTION_DAYS": "a-secret-in-the-wrong-place"})

    assert "TABLE_NAME" in str(caught.value)
    assert "RETENTION_DAYS" in str(caught.value)
    assert "a-secret-in-the-wrong-place" not in str(caught.value)


def test_settings_do_not_change() -> None:
    settings = load_settings(Settings, COMPLETE)

    with pytest.raises(FrozenInstanceError):
        settings.table_name = "other"  # type: ignore[misc]
