"""Whether a job can continue with a chain as it is now: do the outputs that it has stored fit?

A changed prompt, model, effort or answer of a step that is yet to run is no reason to wait. These are: a completed step
that the chain no longer has; one that needs other steps than when it ran; an output that a later step can't read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, JsonValue, PydanticUserError

from jobchain.chains.answer_models import relaxed
from jobchain.chains.answer_types import unwrapped
from jobchain.chains.chain import Chain, CodeStep, Outputs, Step
from jobchain.chains.definition import Content, Definition
from jobchain.chains.parameters import Reader
from jobchain.chains.step_keys import PartsKey, SplitKey, StepKey, read_key
from jobchain.domain import FinishedStep


def misfit(
    chain: Chain, payload: BaseModel, done: Sequence[FinishedStep], now: Definition, ran_with: Mapping[str, Definition]
) -> str | None:
    """Why a job can't continue with `chain`, whose definition is `now`; None where it can.

    `done` are its completed steps, and `ran_with` the definitions of the versions that these name, as far as they are
    known.
    """
    fit = _Fit(chain, payload, {step.name: step.output for step in done}, now)
    for step in done:
        if step.chain_version != now.version:
            ran = ran_with.get(step.chain_version)
            if why := fit.fault(step.name, ran.step(read_key(step.name).step) if ran else None):
                return why
    return None


def other_versions(done: Sequence[FinishedStep], now: Definition) -> set[str]:
    """The versions that completed steps name, without that of `now`."""
    return {step.chain_version for step in done} - {now.version, ""}


@dataclass(frozen=True)
class _Fit:
    chain: Chain
    payload: BaseModel
    outputs: Outputs
    now: Definition

    def fault(self, stored: str, old: Content | None) -> str | None:
        """What does not fit of the output of this stored name. `old` is its step as it was run, None if not known."""
        key = read_key(stored)
        step = next((each for each in self.chain.steps if each.name == key.step), None)
        if step is None:
            return f"it has no step {key.step}"
        if isinstance(key, StepKey):
            if old and {*old["needs"]} != {*step.needs}:
                return f"its step {key.step} needs other steps"
            needed = any(key.step in each.needs for each in self.chain.steps if each.name not in self.outputs)
            return self._type_fault(key.step, self._readable(step), stored, old) if needed else None
        if key.step in self.outputs:
            return None  # its parts are read by no step any more
        if not isinstance(step, Step) or step.long is None:
            return f"its step {key.step} does not split a text"
        if old and {*old["needs"]} != {*step.needs}:
            return f"its step {key.step} needs other steps"
        if isinstance(key, PartsKey):
            return self._type_fault(key.step, relaxed(step.output_type), stored, old)
        if (old and (old.get("long") or {}).get("text") != step.long.label) or self._ends(key) != len(
            step.long.text(self.payload)
        ):
            return f"its step {key.step} splits another text"
        return None

    def _readable(self, step: Step | CodeStep) -> Any:
        """The type of the step's output, without its limits where it was merged of parts: it may be longer then."""
        bounds: Any = self.outputs.get(SplitKey(step.name).stored) or []
        return unwrapped(step.output_type)[0] if len(bounds) > 1 else step.output_type

    def _ends(self, key: SplitKey) -> int:
        bounds: Any = self.outputs[key.stored]
        return int(bounds[-1][1]) if bounds else 0

    def _type_fault(self, name: str, annotation: Any, stored: str, old: Content | None) -> str | None:
        new = self.now.step(name) or {}
        same = old is not None and old["output"] is not None and old["output"] == new.get("output")
        if same or _can_read(annotation, self.outputs[stored]):
            return None
        return f"its step {name} gives another type"


def _can_read(annotation: Any, output: JsonValue) -> bool:
    try:
        Reader(annotation, checks=True).read(output)
    except PydanticUserError:
        return True  # pydantic reads no such type: then no step reads it with its type
    except Exception:  # noqa: BLE001  # ValidationError, or what the chain's own code raises
        return False
    return True
