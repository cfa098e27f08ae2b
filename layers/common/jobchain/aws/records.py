"""What workers store of a job's calls: an item for each completed step, and one for each call that failed.

The items are put without a condition on META, which a put's condition can't see. So each names the claim whose worker
stored it, and its number among that claim's items. META tells which of them count: all of its own claim, and of earlier
claims those that the next one found when it took the job over. What a worker stores later, having lost its lease, is
not shown.
"""

import json
from collections.abc import Iterable, Mapping

from jobchain.aws.attributes import Item
from jobchain.aws.items import StoredJob, job_key, packed, spending_of, totals, unpacked
from jobchain.domain import Attempt, Claim, FinishedStep, Tier
from jobchain.spending import Spending, summed_by_model
from jobchain.text import dump

# The claims whose failed calls are kept: those of a later claim replace those of the oldest.
_ATTEMPT_SLOTS = 64

# The records of a claim that have an item of their own, if they are failed calls: a later one replaces the last.
_MAX_PER_CLAIM = 1000


def step_item(claim: Claim, number: int, position: int, requested_model: str, step: FinishedStep) -> Item:
    """The item of a completed step, the `position`th of its chain; `requested_model` is the one that was asked."""
    item = {
        **job_key(claim.event_id, f"STEP#{claim.uid}#{claim.number:05}#{number:04}"),
        **_of_claim(claim, number, requested_model),
        "position": position,
        "name": step.name,
        "output": packed(dump(step.output)),
        "model": step.model,
        "prompt_version": step.prompt_version,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        **totals(step.spending),
    }
    if step.failed != Spending():
        item["failed"] = totals(step.failed)
    optional = {"request_id": step.request_id, "called_at": step.called_at, "sent": step.request_hash}
    item |= {name: text for name, text in {**optional, "effort": step.effort}.items() if text}
    if claim.chain_version != claim.default_version:
        item["chain_version"] = claim.chain_version
    if step.tier is not Tier.STANDARD:
        item["tier"] = step.tier
    return item


def copied_step_item(event_id: str, uid: str, number: int, step: FinishedStep) -> Item:
    """The item of a step that a fork begins with: as if a claim 0 had stored it, at no cost.

    Before its first claim META has the claim number 0, so that the item counts; the first claim finds it.
    """
    optional = {"sent": step.request_hash, "effort": step.effort, "chain_version": step.chain_version}
    return {
        **job_key(event_id, f"STEP#{uid}#{0:05}#{number:04}"),
        "claim": 0,
        "number": number,
        "position": number - 1,
        "name": step.name,
        "output": packed(dump(step.output)),
        "model": step.model,
        "prompt_version": step.prompt_version,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "copied": True,
        **({"tier": step.tier} if step.tier is not Tier.STANDARD else {}),
        **{name: text for name, text in optional.items() if text},
    }


def attempt_item(claim: Claim, number: int, requested_model: str, attempt: Attempt) -> Item:
    """The item of a call that failed."""
    slot, place = claim.number % _ATTEMPT_SLOTS, min(number, _MAX_PER_CLAIM)
    item = {
        **job_key(claim.event_id, f"ATTEMPT#{claim.uid}#{slot:02}#{place:04}"),
        **_of_claim(claim, number, requested_model),
        "step": attempt.step,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "model": attempt.model,
        "tier": attempt.tier,
        "outcome": attempt.outcome,
        **totals(attempt.spending),
    }
    optional = {"cause": attempt.cause, "answer": attempt.answer}
    item |= {name: packed(text) for name, text in optional.items() if text is not None}
    short = {"request_id": attempt.request_id, "effort": attempt.effort, "chain_version": claim.chain_version}
    return item | {name: text for name, text in short.items() if text}


def _of_claim(claim: Claim, number: int, requested_model: str) -> Item:
    return {
        "uid": claim.uid,
        "claim": claim.number,
        "number": number,
        **({"requested_model": requested_model} if requested_model else {}),
        "expires_at": claim.expires_at,
    }


def step_of(item: Item, default_version: str = "") -> FinishedStep:
    """The step that an item STEP# holds; an item that names no version of the chain is of `default_version`."""
    return FinishedStep(
        name=_name(item),
        output=json.loads(unpacked(item["output"])),
        model=item["model"],
        prompt_version=item["prompt_version"],
        started_at=item["started_at"],
        finished_at=item["finished_at"],
        spending=spending_of(item),
        failed=spending_of(item.get("failed", {})),
        request_id=item.get("request_id"),
        tier=Tier(item.get("tier", Tier.STANDARD)),
        called_at=item.get("called_at"),
        request_hash=item.get("sent"),
        effort=item.get("effort"),
        copied="copied" in item,
        chain_version=item.get("chain_version", default_version),
    )


def attempt_of(item: Item) -> Attempt:
    """The call that an item ATTEMPT# holds."""
    return Attempt(
        step=item["step"],
        started_at=item["started_at"],
        finished_at=item["finished_at"],
        model=item["model"],
        tier=Tier(item["tier"]),
        spending=spending_of(item),
        outcome=item["outcome"],
        cause=unpacked(item["cause"]) if "cause" in item else None,
        answer=unpacked(item["answer"]) if "answer" in item else None,
        request_id=item.get("request_id"),
        effort=item.get("effort"),
        chain_version=item.get("chain_version", ""),
    )


def visible_steps(job: StoredJob) -> list[Item]:
    """The items of the steps that count, in their chain's order; of two of one name, that of the later claim.

    There can be two: a query is no snapshot, so a claim may have found a step of a slow worker, and not one before it.
    """
    steps = [item for item in job.of_kind("STEP") if counts(item, job.meta)]
    steps.sort(key=lambda item: (_position(item), int(item.get("claim", 0))))
    return list({_name(item): item for item in steps}.values())


def counts(item: Item, meta: Item) -> bool:
    """Whether the item of a step is one of those that META names."""
    if "claim" not in item:
        return True  # stored by an earlier version, together with META
    claim, number = int(item["claim"]), int(item["number"])
    if claim == meta["claim"]:
        return bool(number <= meta.get("sealed", number))
    return bool(number <= meta.get("steps", {}).get(str(claim), 0))


def _name(item: Item) -> str:
    return str(item["name"] if "name" in item else item["sk"].split("#", 2)[2])


def _position(item: Item) -> int:
    return int(item["position"] if "position" in item else item["sk"].split("#", 2)[1])


def finished_steps(job: StoredJob) -> tuple[FinishedStep, ...]:
    """The steps that count, in their chain's order."""
    return tuple(step_of(item, job.meta.get("version", "")) for item in visible_steps(job))


def chain_version_of(job: StoredJob) -> str:
    """The version of the chain that the job was run with last; empty before a worker has run it.

    A claim that is released or ends writes it to META. Until then, what it has stored tells it.
    """
    meta = job.meta
    named = [item for item in visible_steps(job) if int(item.get("claim", 0)) > meta.get("billed", 0)]
    if named:
        return step_of(max(named, key=lambda item: int(item["claim"])), meta.get("version", "")).chain_version
    return str(meta.get("last_version", meta.get("version", "")))


def newest_by_claim(steps: Iterable[Item]) -> Mapping[str, int]:
    """The number of the last of these steps by claim, as META has it for all claims before its own."""
    newest: dict[str, int] = {}
    for item in steps:
        if "claim" in item:
            claim = str(int(item["claim"]))
            newest[claim] = max(newest.get(claim, 0), int(item["number"]))
    return newest


def settled_claim(meta: Item) -> int:
    """The last claim all of whose calls are in META's totals and in the daily usage."""
    return int(meta["settled"] if "settled" in meta else meta["claim"])


def unsettled_spending(job: StoredJob) -> Mapping[str, Spending]:
    """What the job's items hold of the spending of unsettled claims, by the model that was asked."""
    settled = settled_claim(job.meta)
    return summed_by_model(
        (item.get("requested_model", ""), spending_of(item))
        for item in job.items
        if int(item.get("claim", 0)) > settled and spending_of(item) != Spending()
    )
