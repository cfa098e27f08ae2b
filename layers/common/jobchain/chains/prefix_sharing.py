"""Which steps read the same texts of the payload, so that their prompts share a prefix that a provider caches.

A provider reads a cached prefix at a fraction of the price. To write it costs more than to read it once, so that a
prompt has a cache breakpoint only where a later step reads the same prefix.
https://developers.openai.com/api/docs/guides/prompt-caching
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from jobchain.chains.call_options import CallOptions
from jobchain.chains.chain import CodeStep, Step
from jobchain.chains.declared import Declared
from jobchain.chains.graph import Needs

Text = tuple[str, str | None]
"""A text of the payload as a step reads it: its label, and the payload's field, None for the whole payload."""

T = TypeVar("T")


class Sharing(NamedTuple):
    """The prompts of all `steps` begin with the texts of these `labels`, in this order."""

    labels: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class _Steps:
    """The steps of a chain, in order, with what they need."""

    needs: Mapping[str, Needs]

    def depth(self, name: str) -> int:
        """The wave that the step runs in: a step runs in a later one than all that it needs."""
        return 1 + max(map(self.depth, self.needs[name].all.needs), default=0)

    def above(self, name: str) -> Set[str]:
        """The steps that it needs, and all that these need."""
        own = self.needs[name].all.needs
        return {*own}.union(*map(self.above, own))

    def with_breakpoint(self, readers: Sequence[str]) -> tuple[str, ...]:
        """The readers whose prompts have a breakpoint: one of the first wave, which writes, and all of later ones.

        Readers of one wave run at the same time: each would write, and none would read. Where all do, none has one.
        """
        first = min(map(self.depth, readers))
        later = [name for name in readers if self.depth(name) > first]
        if not later:
            return ()
        early = [name for name in readers if name not in later]
        writer = max(early, key=lambda name: sum(name in self.above(each) for each in later))
        return (writer, *later)


def sharings(
    steps: Mapping[str, Declared], needs: Mapping[str, Needs], options: Mapping[str, CallOptions]
) -> dict[str, Sharing]:
    """The sharing of each step whose prompt has a prefix that another's has, by its name.

    A cache is of one model and one effort: steps share a prefix only where both are the same.
    """
    graph = _Steps(needs)
    left = {name: _texts(needs[name]) for name, step in steps.items() if step.asks and not step.material}
    found: dict[str, Sharing] = {}
    while readers := _most_readers(left, options):
        if sharing := graph.with_breakpoint(readers):
            common = [text for text in left[sharing[0]] if all(text in left[name] for name in sharing)]
            found |= dict.fromkeys(sharing, Sharing(tuple(label for label, _ in common), sharing))
        for name in readers:
            del left[name]
    return found


def _texts(needs: Needs) -> list[Text]:
    return [(each.name, each.field) for each in needs.own.each if each.step is None]


def _most_readers(left: Mapping[str, Sequence[Text]], options: Mapping[str, CallOptions]) -> list[str]:
    """The steps that read the text which most steps read; empty where no text has two readers."""
    readers: dict[tuple[Text, str | None, str | None], list[str]] = {}
    for name, texts in left.items():
        for text in texts:
            readers.setdefault((text, options[name].model, options[name].effort), []).append(name)
    most = max(readers.values(), key=len, default=[])
    return most if len(most) > 1 else []


def first(texts: Sequence[tuple[str, T]], labels: Sequence[str]) -> list[tuple[str, T]]:
    """The texts, with those of these labels first and in their order."""
    return sorted(texts, key=lambda text: labels.index(text[0]) if text[0] in labels else len(labels))


def with_answers(
    steps: Sequence[Step | CodeStep], found: Mapping[str, Sharing], needs: Mapping[str, Needs]
) -> list[Step | CodeStep]:
    """The steps, each with the answers of all that share its prefix, as their schemas are a part of that."""
    by_name = {step.name: step for step in steps if isinstance(step, Step)}

    def completed(step: Step | CodeStep) -> Step | CodeStep:
        if not isinstance(step, Step) or step.prefix is None:
            return step
        names = found[step.name].steps
        whole = replace(step, prefix=replace(step.prefix, answers=_answers(by_name, names, lambda each: each.answer)))
        long = step.long
        if long is None:
            return whole
        split = [name for name in names if (other := by_name[name].long) and other.label == long.label]
        parts = _Steps(needs).with_breakpoint(split)
        if step.name not in parts:
            return whole
        return replace(whole, long=replace(long, answers=_answers(by_name, parts, _of_part)))

    return [completed(step) for step in steps]


def _of_part(step: Step) -> type[BaseModel]:
    return (step.long.answer if step.long else None) or step.answer


def _answers(
    steps: Mapping[str, Step], names: Sequence[str], answer: Callable[[Step], type[BaseModel]]
) -> tuple[tuple[str, type[BaseModel]], ...]:
    """The answers of these steps by name, each schema once."""
    unique: dict[type[Any], str] = {}
    for name in names:
        unique.setdefault(answer(steps[name]), name)
    return tuple((name, each) for each, name in unique.items())
