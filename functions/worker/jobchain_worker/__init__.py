"""The worker function: runs the steps of jobs."""

from jobchain.deferred import defer

# Before any module of this package imports the SDK. Its packages import the models of all requests and responses of all
# endpoints, of which the worker uses none: they take a third of its start.
defer(
    {
        "openai": {
            "APIError": "openai._exceptions",
            "APIStatusError": "openai._exceptions",
            "AsyncOpenAI": "openai._client",
            "DefaultAsyncHttpxClient": "openai._base_client",
            "NotFoundError": "openai._exceptions",
            "OpenAIError": "openai._exceptions",
            "Timeout": "openai._client",
        },
        "openai.lib": {},
        "openai.types": {},
        "openai.types.shared": {},
        # All kinds of functions' needs, of which the worker logs and counts.
        "aws_lambda_powertools": {"Logger": "aws_lambda_powertools.logging"},
        # Looked at for plugins alone, which `jobchain.startup` turns off.
        "importlib.metadata": {},
    }
)
