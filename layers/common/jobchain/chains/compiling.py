"""Makes of declared steps what the worker runs and the API shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, NamedTuple, cast, get_origin, overload

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, create_model
from pydantic.fields import FieldInfo

from jobchain.chains.answer_types import is_object, unwrapped
from jobchain.chains.author_types import Mermaid, PayloadField, Table
from jobchain.chains.chain import CallOptions, Chain, CodeStep, LongText, Prompt, Step, StepContext, fence
from jobchain.chains.declared import Declared
from jobchain.chains.fields import Answer, Entries, Payload, paragraphs
from jobchain.chains.graph import Graph, Needs
from jobchain.chains.long_texts import Long, Merge, concatenate
from jobchain.chains.mistakes import ChainError, Mistake, Place
from jobchain.chains.outputs import stored
from jobchain.chains.parameters import Arguments, Parameter, outputs_of, payload_texts
from jobchain.chains.prompts import about, about_merge, about_part, prompt_of
from jobchain.chains.result_view import view_of

MAX_SHORT = 2_000
"""A text of the payload of no more characters than this is never split."""


class Source(NamedTuple):
    """A chain as its author declared it."""

    name: str
    description: str
    place: Place
    payload: type[BaseModel] | None
    options: CallOptions
    steps: Mapping[str, Declared]


class _Steps(Sequence[Step | CodeStep]):
    """The steps of a chain, built when the first of them is looked at: the API takes most requests without."""

    def __init__(self, build: Callable[[], Sequence[Step | CodeStep]]) -> None:
        self._build = build

    @cached_property
    def _built(self) -> Sequence[Step | CodeStep]:
        return self._build()

    @overload
    def __getitem__(self, place: int) -> Step | CodeStep: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Step | CodeStep]: ...

    def __getitem__(self, place: int | slice) -> Step | CodeStep | Sequence[Step | CodeStep]:
        return self._built[place]

    def __len__(self) -> int:
        return len(self._built)


def compiled(source: Source) -> Chain:
    """The chain. Raises ChainError with all mistakes of its graph; for those of single steps, see `built`."""
    if not source.steps:
        raise ChainError(Mistake(source.place, f"the chain {source.name} has no step: add a function with @chain.ask"))
    for step in source.steps.values():
        try:
            step.check()
        except NameError as error:
            raise ChainError(step.mistake(f"a type of the step {step.name} is not defined: {error}")) from None
    graph = Graph(source.steps, source.payload)
    needs = graph.needs()
    parts = _parts(graph, source.steps)
    _raise(graph)

    def build() -> Sequence[Step | CodeStep]:
        steps = [_step(graph, step, needs[name], source.options) for name, step in source.steps.items()]
        _raise(graph)
        return steps

    return Chain(source.name, source.description, _payload(source, graph), _Steps(build), lambda: view_of(parts))


def built(chain: Chain) -> Chain:
    """The chain with its steps built. Raises ChainError with all mistakes of them."""
    return replace(chain, steps=tuple(chain.steps))


def _raise(graph: Graph) -> None:
    if graph.mistakes:
        raise ChainError(*graph.mistakes)


def _parts(graph: Graph, steps: Mapping[str, Declared]) -> dict[str, Any]:
    """The parts of the result, with their types."""
    parts: dict[str, Any] = {}
    for step in steps.values():
        for name, annotation in step.shown.items():
            if name in parts:
                graph.mistakes.append(step.mistake(f"{step.name} shows {name}, as a step above does: use another name"))
            parts[name] = annotation
    return parts


def _payload(source: Source, graph: Graph) -> type[BaseModel]:
    name = f"{_camel(source.name)}Payload"
    doc = "What the chain takes."
    if source.payload is not None:
        if issubclass(source.payload, Payload):
            return source.payload
        # The same fields, and no others.
        bases = (source.payload, Payload)
        config = ConfigDict(**{**source.payload.model_config, "extra": "forbid", "hide_input_in_errors": True})
        namespace = {"__doc__": source.payload.__doc__, "__module__": source.payload.__module__, "model_config": config}
        return cast("type[BaseModel]", type(source.payload.__name__, bases, namespace))
    fields: dict[str, Any] = {
        field: (_without_note(parameter), ... if parameter.is_required else parameter.default)
        for field, parameter in graph.fields.items()
    }
    return create_model(name, __base__=Payload, __doc__=doc, **fields)


def _without_note(parameter: Parameter) -> Any:
    bare, notes = unwrapped(parameter.annotation)
    kept = tuple(note for note in notes if not isinstance(note, PayloadField))
    return Annotated[(bare, *kept)] if kept else bare


def _step(graph: Graph, step: Declared, needs: Needs, defaults: CallOptions) -> Step | CodeStep:
    return _Builder(graph, step, needs, _combined(step.options, defaults)).step()


def _combined(options: CallOptions, defaults: CallOptions) -> CallOptions:
    def first(name: str) -> Any:
        own = getattr(options, name)
        return getattr(defaults, name) if own is None else own

    return CallOptions(**{name: first(name) for name in CallOptions._fields})


class _Builder(NamedTuple):
    """Builds one step."""

    graph: Graph
    declared: Declared
    reads: Needs
    options: CallOptions

    def step(self) -> Step | CodeStep:
        step, reads = self.declared, self.reads.all
        show = cast("Callable[[Any], dict[str, JsonValue]] | None", step.show)
        needs = tuple(dict.fromkeys(reads.needs))
        if not step.asks:
            return CodeStep(step.name, self._compute(), needs, show, reads.each)
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
        )

    @property
    def _names(self) -> list[str]:
        return [argument.name for argument in self.reads.own.each]

    def _compute(self) -> Callable[[StepContext[Any]], JsonValue]:
        function, arguments = self.declared.function, self.reads.own

        def compute(context: StepContext[Any]) -> JsonValue:
            texts = payload_texts(context.payload, arguments.fields)
            return outputs_of(function(**arguments.typed(context)), texts)

        return compute

    def _write_input(self) -> Callable[[StepContext[Any]], str]:
        material, reads = self.declared.material, self.reads

        def write_input(context: StepContext[Any]) -> str:
            if material is None:
                texts = list(reads.own.texts(context))
            else:
                texts = [(label, write(**reads.material[label].typed(context))) for label, write in material.items()]
            return "\n\n".join(fence(label, text) for label, text in texts)

        return write_input

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
        relaxed = _relaxed(step.signature.returns)
        answer = None
        if relaxed != step.signature.returns:
            answer, _ = answer_of(f"{step.name}_part", relaxed, step.name)
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


def _may_be_long(annotation: Any) -> bool:
    """Whether a parameter's type is that of a text with more characters than any call's input is short of."""
    bare, notes = unwrapped(annotation)
    limits = [part for note in notes for part in (note, *getattr(note, "metadata", ()))]
    most = [limit.max_length for limit in limits if getattr(limit, "max_length", None) is not None]
    return bare is str and min(most, default=MAX_SHORT + 1) > MAX_SHORT


def answer_of(name: str, annotation: Any, field: str | None = None) -> tuple[type[BaseModel], Callable[[Any], Any]]:
    """The model's answer for a step's type, and what makes the step's value of it.

    The root of a schema is an object: any other type is in the one field of a model, called as the step is.
    """
    bare, notes = unwrapped(annotation)
    if bare in (Mermaid, Table):
        return _content(bare), lambda answer: bare(answer.text)
    if is_object(bare):
        return bare, lambda answer: answer
    field = field or name
    kept = (*notes, AfterValidator(paragraphs)) if bare is str else notes
    held = Annotated[(bare, *kept)] if kept else bare
    fields: dict[str, Any] = {field: (held, Field())}
    answer = create_model(f"{_camel(name)}Answer", __base__=Answer, __module__=__name__, **fields)
    return answer, lambda answer: getattr(answer, field)


def _content(written: type[str]) -> type[Answer]:
    """What a model answers in place of a type that code writes."""
    if written is Mermaid:
        from jobchain.chains.diagram_answer import DiagramAnswer  # noqa: PLC0415  # not every chain needs it

        return DiagramAnswer
    from jobchain.chains.table_answer import TableAnswer  # noqa: PLC0415  # not every chain needs it

    return TableAnswer


def _relaxed(annotation: Any) -> Any:
    """The type of a part's answer: a part of a text may have nothing to give."""
    bare, notes = unwrapped(annotation)
    if get_origin(bare) is not list or not notes:
        return annotation
    return Annotated[(bare, *map(_without_least, notes))]


def _without_least(note: Any) -> Any:
    if isinstance(note, Entries):
        return Entries(0, note.most)
    if isinstance(note, FieldInfo) and any(hasattr(each, "min_length") for each in note.metadata):
        most = [each.max_length for each in note.metadata if hasattr(each, "max_length")]
        return Field(max_length=most[0] if most else None, description=note.description)
    return note


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
