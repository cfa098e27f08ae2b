"""The SDK's packages that a start of the worker does not execute."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

_START = """
import sys
import jobchain_worker.worker_settings, jobchain_worker.openai_models
"""


def _in_a_new_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", _START + program], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_start_loads_none_of_the_sdks_models_of_requests_and_responses() -> None:
    # Given the modules that call the model
    # When they are loaded in a new process
    loaded = _in_a_new_process("print(*(name for name in sys.modules if name.startswith('openai.types')))")

    # Then of the models there is what the SDK's own errors need
    assert set(loaded.split()) == {"openai.types", "openai.types.shared", "openai.types.shared.oauth_error_code"}


def test_neither_a_client_nor_an_error_has_the_sdk_executed() -> None:
    # Given a client, and all errors that are caught
    # When they are used
    program = """
import asyncio, openai
from datetime import timedelta
from jobchain_worker.openai_calls import create_client
async def key(): return "sk-x"
client = create_client("http://127.0.0.1:9/v1", key, timedelta(seconds=5))
try:
    asyncio.run(client.post("/responses", cast_to=object, body={}))
except (openai.NotFoundError, openai.APIStatusError): pass
except openai.APIError as error: print(type(error).__name__)
print("OpenAI" in vars(openai))
"""
    # Then the package stays as it is
    assert _in_a_new_process(program).split() == ["APIConnectionError", "False"]


@pytest.mark.parametrize(
    "name",
    [
        "openai.OpenAI",
        "openai.types.Model",
        "openai.types.shared.ErrorObject",
        "openai.types.responses.Response",
        "openai.lib.pydantic_function_tool",
    ],
)
def test_what_a_start_has_deferred_is_there_when_it_is_asked_for(name: str) -> None:
    # Given a worker that has started
    # When something asks for another part of the SDK
    found = _in_a_new_process(f"import openai; print({name}.__name__)")

    # Then it is there
    assert found.strip() == name.rpartition(".")[2]


def test_the_package_that_is_executed_late_has_the_same_classes() -> None:
    # Given errors that were used before the package was executed
    program = "import openai; before = openai.APIError; openai.OpenAI; print(openai.APIError is before)"

    # When it is executed
    # Then an error is still caught by the class that was used before
    assert _in_a_new_process(program).strip() == "True"


def test_a_name_that_the_sdk_does_not_have_is_an_attribute_error() -> None:
    # Given a worker that has started
    # When something asks for what the SDK does not have
    found = _in_a_new_process("import openai; print(hasattr(openai, 'Nothing'), hasattr(openai, '__nothing__'))")

    # Then it is told as for any module
    assert found.split() == ["False", "False"]


def test_an_sdk_that_was_imported_before_the_worker_stays_as_it_is() -> None:
    # Given a process that has imported the SDK by itself
    program = "import openai, sys; import jobchain_worker; print(type(sys.modules['openai.types']).__name__)"

    # When it imports the worker
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    # Then nothing is deferred
    assert done.stdout.strip() == "module"
