"""Builds what the worker runs of one declared step."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast, get_origin

from pydantic import JsonValue, ValidationError

from jobchain.chains.answer_models import answer_of, relaxed
from jobchain.chains.answer_types import unwrapped
from jobchain.chains.approving import approval_of
from jobchain.chains.call_options import CallOptions
from jobchain.chains.chain import CodeStep, LongText, Prompt, Step, StepContext, fence
from jobchain.chains.declared import Declared
from jobchain.chains.graph import Graph, Needs
from jobchain.chains.long_texts import Long, Merge, concatenate
from jobchain.chains.outputs import stored
from jobchain.chains.parameters import Arguments, Parameter, Reader, outputs_of, payload_texts
from jobchain.chains.prefix import Prefix
from jobchain.chains.prefix_sharing import Sharing, first
from jobchain.chains.prompts import about, about_merge, about_part, prompt_of

MAX_SHORT = 2_000
"""A text of the payload of no more characters than this is never split."""


def step_of(
    graph: Graph, step: Declared, needs: Needs, options: CallOptions, sharing: Sharing | None
) -> Step | CodeStep:
    """The step that the worker runs. Mistakes are added to those of the graph."""
    return _Builder(graph, step, needs, options, sharing.labels if sharing else ()).step()


def combined(options: CallOptions, defaults: CallOptions) -> CallOptions:
    """The options of a step; `defaults` are the chain's."""

    def first_of(name: str) -> Any:
        own = getattr(options, name)
        return getattr(defaults, name) if own is None else own

    return CallOptions(**{name: first_of(name) for name in CallOptions._fields})


class _Builder(NamedTuple):
    """Builds one step."""

    graph: Graph
    declared: Declared
    reads: Needs
    options: CallOptions
    shared: tuple[str, ...]
    """The labels of the texts that the material begins with, as that of another step does."""

    def step(self) -> Step | CodeStep:
        step, reads = self.declared, self.reads.all
        show = cast("Callable[[Any], dict[str, JsonValue]] | None", step.show)
        needs = tuple(dict.fromkeys(reads.needs))
        if not step.asks:
            given = Reader(step.signature.returns, checks=True)
            code = CodeStep(step.name, self._compute(given), needs, show, (*reads.each, given), step.output)
            return approval_of(code, step.approval, self._read_edit(given)) if step.approval else code
        answer, read = answer_of(step.name, step.signature.returns)
        return Step(
            name=step.name,
            prompt=prompt_of(step.function, step.prompt, about(list(step.material or self._names))),
            answer=answer,
            write_input=self._write_input(),
            read_answer=self._read_answer(read),
            needs=needs,
            show=show,
            long=self._long(),
            options=self.options,
            values=reads.each,
            payload_values=tuple(value for value in reads.each if value.step is None),
            prefix=Prefix(self._write_prefix) if self.shared else None,
            output_type=step.output,
        )

    @property
    def _names(self) -> list[str]:
        return [argument.name for argument in self.reads.own.each]

    def _compute(self, given: Reader) -> Callable[[StepContext[Any]], JsonValue]:
        step, arguments = self.declared, self.reads.own

        def compute(context: StepContext[Any]) -> JsonValue:
            texts = payload_texts(context.payload, arguments.fields)
            output = outputs_of(step.function(**arguments.typed(context)), texts)
            try:
                given.read(output)
            except ValidationError as error:
                raise TypeError(f"{step.place}: the step {step.name} gives another type: {_first(error)}") from error
            return output

        return compute

    def _read_edit(self, given: Reader) -> Callable[[JsonValue, StepContext[Any]], JsonValue]:
        arguments = self.reads.own

        def read(value: JsonValue, context: StepContext[Any]) -> JsonValue:
            return outputs_of(given.read(value), payload_texts(context.payload, arguments.fields))

        return read

    def _write_input(self) -> Callable[[StepContext[Any]], str]:
        material, reads, shared = self.declared.material, self.reads, self.shared

        def write_input(context: StepContext[Any]) -> str:
            if material is None:
                texts = first(list(reads.own.texts(context)), shared)
            else:
                texts = [(label, write(**reads.material[label].typed(context))) for label, write in material.items()]
            return "\n\n".join(fence(label, text) for label, text in texts)

        return write_input

    def _write_prefix(self, context: StepContext[Any]) -> str:
        texts = first(list(self.reads.own.texts(context)), self.shared)
        return "\n\n".join(fence(label, text) for label, text in texts if label in self.shared)

    def _read_answer(self, read: Callable[[Any], Any]) -> Callable[[Any, StepContext[Any]], JsonValue]:
        then, reads = self.declared.then, self.reads

        def read_answer(answer: Any, context: StepContext[Any]) -> JsonValue:
            value = read(answer)
            texts = payload_texts(context.payload, reads.own.fields)
            return outputs_of(then(value, **reads.then.typed(context)), texts) if then else stored(value, texts)

        return read_answer

    def _long(self) -> LongText | None:
        step = self.declared
        if step.long is None:
            return None
        long = step.long if isinstance(step.long, Long) else Long(merge=step.long)
        split = self._split_parameter(long)
        if split is None:
            return None
        self._check_merge(long)
        field = split.field
        shared = self._shared(long, split.name)
        labels = [argument.name for argument in shared.each]
        merge: Prompt | Merge
        if callable(long.merge):
            merge = long.merge
        else:
            merge = prompt_of(step.function, long.merge or step.prompt, about_merge(labels, own=long.merge is None))
        part = relaxed(step.signature.returns)
        answer = None
        if part != step.signature.returns:
            answer, _ = answer_of(f"{step.name}_part", part, step.name)
        return LongText(
            text=lambda payload: getattr(payload, field),
            label=split.name,
            prompt=prompt_of(
                step.function, long.part or step.prompt, about_part(split.name, labels, own=long.part is None)
            ),
            merge=merge,
            answer=answer,
            max_output_tokens=long.max_output_tokens,
            shared=lambda context: "\n\n".join(fence(label, text) for label, text in shared.texts(context)),
            part_note=about_part(split.name, labels, own=True),
            merge_note=about_merge(labels, own=True),
        )

    def _split_parameter(self, long: Long) -> Parameter | None:
        """The parameter whose text is split. It comes from the payload, so that its parts are known at once."""
        step = self.declared
        steps = self.graph.steps
        texts = [
            each
            for each in step.signature.parameters
            if _may_be_long(each.annotation) and (each.payload_field or each.name not in steps)
        ]
        chosen = [each for each in texts if long.of in (None, each.name)]
        if len(chosen) == 1:
            return chosen[0]
        known = ", ".join(each.name for each in texts) or "none"
        what = f"long= of the step {step.name} splits one text of the payload: name it, as in long=Long(of=…) ({known})"
        self.graph.mistakes.append(step.mistake(what))
        return None

    def _check_merge(self, long: Long) -> None:
        step = self.declared
        bare, _ = unwrapped(step.signature.returns)
        if long.merge is concatenate and get_origin(bare) is not list and bare is not str:
            what = f"concatenate takes lists and texts, and the step {step.name} gives neither: use long=ask_again"
            self.graph.mistakes.append(step.mistake(what))

    def _shared(self, long: Long, split: str) -> Arguments:
        names = [each.name for each in self.reads.own.each if each.name != split]
        if unknown := [name for name in long.shared or () if name not in names]:
            self.graph.mistakes.append(self.declared.mistake(f"long= shares {unknown[0]}, which is no other parameter"))
        kept = names if long.shared is None else long.shared
        return Arguments(tuple(each for each in self.reads.own.each if each.name in kept))


def _first(error: ValidationError) -> str:
    """What is wrong first, and where. No value is in it: it may hold the caller's text."""
    fault = error.errors(include_input=False)[0]
    place = "".join(f"[{each!r}]" for each in fault["loc"]) or "it"
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}"


def _may_be_long(annotation: Any) -> bool:
    """Whether a parameter's type is that of a text with more characters than any call's input is short of."""
    bare, notes = unwrapped(annotation)
    limits = [part for note in notes for part in (note, *getattr(note, "metadata", ()))]
    most = [limit.max_length for limit in limits if getattr(limit, "max_length", None) is not None]
    return bare is str and min(most, default=MAX_SHORT + 1) > MAX_SHORT
