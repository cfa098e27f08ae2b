"""Makes of declared steps what the worker runs and the API shows."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, NamedTuple, cast, overload

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, create_model

from jobchain.chains.answer_models import camel
from jobchain.chains.answer_types import unwrapped
from jobchain.chains.author_types import PayloadField
from jobchain.chains.call_options import CallOptions
from jobchain.chains.chain import Chain, CodeStep, Step
from jobchain.chains.declared import Declared
from jobchain.chains.fields import Payload
from jobchain.chains.graph import Graph
from jobchain.chains.mistakes import ChainError, Mistake, Place
from jobchain.chains.parameters import Parameter
from jobchain.chains.prefix_sharing import sharings, with_answers
from jobchain.chains.result_view import view_of
from jobchain.chains.step_building import combined, step_of


class Source(NamedTuple):
    """A chain as its author declared it."""

    name: str
    description: str
    place: Place
    payload: type[BaseModel] | None
    options: CallOptions
    steps: Mapping[str, Declared]
    overrides: Collection[str]


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
        graph.mistakes.clear()  # of a build that was tried before
        options = {name: combined(step.options, source.options) for name, step in source.steps.items()}
        shared = sharings(source.steps, needs, options)
        steps = [
            step_of(graph, step, needs[name], options[name], shared.get(name)) for name, step in source.steps.items()
        ]
        _raise(graph)
        return with_answers(steps, shared, needs)

    return Chain(
        source.name,
        source.description,
        _payload(source, graph),
        _Steps(build),
        lambda: view_of(parts),
        source.overrides,
    )


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
    name = f"{camel(source.name)}Payload"
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
    try:
        return create_model(name, __base__=Payload, __doc__=doc, **fields)
    except PydanticSchemaGenerationError:
        raise ChainError(*_unusable(graph, fields)) from None


def _unusable(graph: Graph, fields: Mapping[str, tuple[Any, Any]]) -> Iterator[Mistake]:
    """The fields of a payload whose types can't be read from JSON."""
    from pydantic import TypeAdapter  # noqa: PLC0415  # only a mistake needs it

    for name, (annotation, _) in fields.items():
        try:
            TypeAdapter(annotation)
        except PydanticSchemaGenerationError:
            yield graph.takers[name].mistake(
                f"the type of the payload's field {name} can't be used: give it one that JSON has, or a pydantic model"
            )


def _without_note(parameter: Parameter) -> Any:
    bare, notes = unwrapped(parameter.annotation)
    kept = tuple(note for note in notes if not isinstance(note, PayloadField))
    return Annotated[(bare, *kept)] if kept else bare
