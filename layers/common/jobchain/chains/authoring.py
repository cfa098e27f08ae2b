"""Chains as their authors write them: a function for each step.

    chain = Chain("guideline", effort="low")

    @chain.ask
    def summary(document: Text) -> str:
        \"\"\"Summarize the document.\"\"\"

A parameter is what the step needs: an earlier step, or a field of the payload. The return type is the schema of the
model's answer, the docstring is the prompt. `docs/how-to/write-a-chain.md` tells more.
"""

import re
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar, overload

from pydantic import BaseModel, PydanticUserError

from jobchain.approvals import Default
from jobchain.chains.approving import DEADLINE_SECONDS, ApprovalOptions
from jobchain.chains.call_options import CallOptions
from jobchain.chains.chain import Chain as CompiledChain
from jobchain.chains.chain import CodeStep, Step
from jobchain.chains.compiling import Source, built, compiled
from jobchain.chains.declared import Declared, Material, Show, Then, option_faults
from jobchain.chains.long_texts import Long, Merge
from jobchain.chains.mistakes import ChainError, Mistake, Place, refuse
from jobchain.overrides import OVERRIDES, Override
from jobchain.strict_schema import strict_schema

F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Chain:
    """A chain, whose steps are the functions that `ask`, `code` and `approve` decorate, in that order."""

    def __init__(
        self,
        name: str,
        *,
        description: str | None = None,
        payload: type[BaseModel] | None = None,
        model: str | None = None,
        effort: str | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        fallback_model: str | None = None,
        overrides: Collection[Override] = OVERRIDES,
    ) -> None:
        """A chain that jobs name by `name`.

        `description` is the first paragraph of the module's docstring where it is not given. `payload` is a model of
        what jobs bring; without one, it has the fields that no step provides. The others are defaults of the steps'
        calls: see `ask`. `overrides` is what a job may set for itself in place of the chain: its model, its effort, and
        in a fork the prompt of a step; empty for nothing. Raises ChainError.
        """
        self.name = name
        self._place = Place.of_caller(2)
        caller = sys._getframe(1).f_globals  # noqa: SLF001  # the standard library does so for namedtuple
        paragraph = (caller.get("__doc__") or "").strip().split("\n\n")[0]
        self.description = description if description is not None else " ".join(paragraph.split())
        self._payload = payload
        self._options = CallOptions(model, effort, temperature, max_output_tokens, fallback_model)
        self._overrides = frozenset([overrides] if isinstance(overrides, str) else overrides)
        self._steps: dict[str, Declared] = {}
        faults = list(option_faults(self._options, f"the chain {name}"))
        if unknown := self._overrides.difference(OVERRIDES):
            faults.append(f"overrides= names {', '.join(sorted(unknown))}: use some of {', '.join(OVERRIDES)}, or ()")
        if not _NAME.fullmatch(name):
            faults.append(f"{name!r} can't be the name of a chain: use up to 64 small letters, digits and underscores")
        if faults:
            refuse(*(Mistake(self._place, fault) for fault in faults))

    @overload
    def ask(self, function: F, /) -> F: ...

    @overload
    def ask(
        self,
        function: None = None,
        /,
        *,
        prompt: str | None = None,
        model: str | None = None,
        effort: str | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        fallback_model: str | None = None,
        long: Long | Merge | None = None,
        material: Material | None = None,
        then: Then | None = None,
        show: Show | None = None,
    ) -> Callable[[F], F]: ...

    def ask(
        self,
        function: Any = None,
        /,
        *,
        prompt: str | None = None,
        model: str | None = None,
        effort: str | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        fallback_model: str | None = None,
        long: Long | Merge | None = None,
        material: Material | None = None,
        then: Then | None = None,
        show: Show | None = None,
    ) -> Any:
        """Makes the function a step that calls the model. The function itself is never called.

        `prompt` is a file beside the module, in place of the docstring. `model`, `effort`, `temperature` (0 to 2) and
        `max_output_tokens` (the room for the answer, reasoning included) override the chain's, and so does
        `fallback_model`, which is asked while the model has an outage, if the job names no model. `long` says what
        becomes of a text that is too long for one call: `concatenate`, `ask_again`, a function or a `Long`; without it
        the text is sent unchanged. `material` writes what the model reads, in place of one text for each parameter.
        `then` makes the output of the answer. `show` makes parts of the result of the output. Raises ChainError.
        """
        options = CallOptions(model, effort, temperature, max_output_tokens, fallback_model)

        def declare(function: F) -> F:
            self._add(Declared(function, True, prompt, options, long, material, then, show))
            return function

        return declare if function is None else declare(function)

    @overload
    def code(self, function: F, /) -> F: ...

    @overload
    def code(self, function: None = None, /, *, show: Show | None = None) -> Callable[[F], F]: ...

    def code(self, function: Any = None, /, *, show: Show | None = None) -> Any:
        """Makes the function a step without a call: pure, as it may run more than once. Raises ChainError.

        Its parameters have the types that the steps declare. What it gives is stored, and has to be JSON, or a model.
        """

        def declare(function: F) -> F:
            self._add(Declared(function, False, show=show))
            return function

        return declare if function is None else declare(function)

    @overload
    def approve(self, function: F, /) -> F: ...

    @overload
    def approve(
        self,
        function: None = None,
        /,
        *,
        title: str | None = None,
        deadline_seconds: int = DEADLINE_SECONDS,
        on_deadline: Default = "reject",
        show: Show | None = None,
    ) -> Callable[[F], F]: ...

    def approve(
        self,
        function: Any = None,
        /,
        *,
        title: str | None = None,
        deadline_seconds: int = DEADLINE_SECONDS,
        on_deadline: Default = "reject",
        show: Show | None = None,
    ) -> Any:
        """Makes the function a step that a person decides: the job waits, and holds nothing. Raises ChainError.

        What the function gives is shown to the person, who approves it, edits it or rejects it. Later steps read the
        approved value; a rejection fails the job. `title` is what the person reads first (1 to 100 characters).
        `deadline_seconds` is how long the step waits (60 to 604,800, the default), and `on_deadline` what is decided
        then: "approve" or "reject" (the default). The function is pure, as that of `code`, and so is `show`.
        """
        options = ApprovalOptions(title, deadline_seconds, on_deadline)

        def declare(function: F) -> F:
            self._add(Declared(function, False, show=show, approval=options))
            return function

        return declare if function is None else declare(function)

    @cached_property
    def loaded(self) -> CompiledChain:
        """What the API shows. Its steps are built, and their mistakes raised, when they are looked at.

        No step can be added afterwards. Raises ChainError.
        """
        return compiled(
            Source(self.name, self.description, self._place, self._payload, self._options, self._steps, self._overrides)
        )

    @cached_property
    def compiled(self) -> CompiledChain:
        """What the worker runs. No step can be added afterwards. Raises ChainError."""
        return built(self.loaded)

    def faults(self, step: Step | CodeStep) -> list[Mistake]:
        """What is wrong with a step that only its schemas tell, which are built by this."""
        try:
            step.prepare()
            if isinstance(step, Step):
                strict_schema(step.answer)
                if step.long and step.long.answer:
                    strict_schema(step.long.answer)
        except (PydanticUserError, TypeError) as error:
            return [self._steps[step.name].mistake(f"the types of the step {step.name} can't be used: {error}")]
        return []

    def _add(self, step: Declared) -> None:
        if "loaded" in vars(self):
            raise ChainError(
                step.mistake(f"the chain {self.name} is in use: declare {step.name} where the chain is made")
            )
        if other := self._steps.get(step.name):
            refuse(step.mistake(f"there is a step {step.name} at {other.place}: use another name"))
        try:
            with suppress(NameError):  # of a type that is defined further down: it is checked once the chain is used
                step.check()
        except ChainError as error:
            refuse(*error.mistakes)
        self._steps[step.name] = step


def check(chain: Chain) -> list[Mistake]:
    """All mistakes that can be found without a call of the model; empty for a chain that can be used."""
    try:
        steps = chain.compiled.steps
    except ChainError as error:
        return [*error.mistakes]
    return [mistake for step in steps for mistake in chain.faults(step)]
