"""The offline model behind the worker's port, in this process."""

from jobchain.llm import AnswerText, ModelAnswer, ModelRequest
from jobchain.spending import Usage
from jobchain.strict_schema import strict_schema
from jobchain_offline.answering import MODEL, estimated_tokens, output


class OfflineLLM:
    """Answers what `make dev` answers without a key. Tokens are estimates, and cost nothing."""

    model = MODEL
    max_output_tokens = 16_384

    async def count_tokens(self, text: str) -> int | None:
        """See `jobchain.llm.LLM`."""
        return estimated_tokens(text)

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`. Raises ValueError for a schema that it does not know."""
        text = output(strict_schema(request.answer), request.input)
        read = estimated_tokens(request.instructions + request.input)
        return AnswerText(MODEL, Usage(input_tokens=read, output_tokens=estimated_tokens(text)), text)
