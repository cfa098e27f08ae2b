"""Which version of its chain a job runs with: whether this deployment's fits the job, and what is stored of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from jobchain.aws.versions import VersionStore
from jobchain.chains.chain import Chain
from jobchain.chains.definition import Definition, definition_of
from jobchain.chains.fitting import misfit, other_versions
from jobchain.chains.overriding import overridden
from jobchain.domain import Claim, JobError
from jobchain.observability import Logger, describe
from jobchain_worker.approving import approved_steps
from jobchain_worker.job_run import JobRun, Records, checked_payload
from jobchain_worker.text_threads import JobThread

_NO_CHAIN = "this deployment does not have the job's chain"
_OTHER_PAYLOAD = "this deployment's chain takes another payload than when the job was created"
_MISFIT = "this deployment's version of the chain does not fit what the job has stored: {}"
_UNKNOWN = "the job sets what this deployment does not know: {}"
_LAST = "{} (it was run with version {}): deploy one that fits and retry the job, fork it, or create it again"


class Unfit(NamedTuple):
    """This deployment can't run the job: why, and the error of the job if that lasts until its deadline."""

    detail: str
    error: JobError


class ChainVersions:
    """Finds what jobs run with. Each definition is made once, and stored once for as long as jobs name it."""

    def __init__(self, store: VersionStore, chains: Mapping[str, Chain], model: str, logger: Logger) -> None:
        """`model` is the deployment's."""
        self.chains = chains
        self._store = store
        self._model = model
        self._logger = logger
        self._made: dict[str, tuple[Chain, Definition | None]] = {}

    def prepare(self) -> None:
        """Makes the definitions that are not made yet, some milliseconds for each.

        Call it on the event loop: it builds the schemas of answers, which two threads must not do at the same time.
        """
        for chain in self.chains.values():
            known, _ = self._made.get(chain.name, (None, None))
            if known is not chain:
                self._made[chain.name] = (chain, self._definition(chain))

    def version(self, name: str) -> str:
        """The version of the chain of this name; empty for none."""
        _, definition = self._made.get(name, (None, None))
        return definition.version if definition and name in self.chains else ""

    async def run_of(self, claim: Claim, records: Records, texts: JobThread) -> JobRun | Unfit:
        """The run of a claimed job, or why this deployment can't run it. Raises Unavailable at the lease's end.

        The version is stored before anything names it: the claim of the run and of `records` does from now on.
        """
        if unknown := claim.overrides.unknown:
            # Of a later version, before a rollback. Without it the job would be run as its caller did not ask.
            detail = _UNKNOWN.format(", ".join(unknown))
            return Unfit(detail, JobError("unknown_version", f"{detail}: create it again"))
        chain = self.chains.get(claim.job_name)
        payload = await checked_payload(texts, chain, claim) if chain else None
        if chain is None or payload is None:
            detail = _OTHER_PAYLOAD if chain else _NO_CHAIN
            return Unfit(detail, JobError("unknown_chain", f"{detail}: create it again"))
        _, now = self._made[chain.name]
        if now:
            ran_with: Mapping[str, Definition] = {}
            if others := other_versions(claim.steps, now):
                ran_with = await records.persistence.write(self._store.find, others)
            done = (*claim.steps, *approved_steps(claim))
            if why := await texts.run(misfit, chain, payload, done, now, ran_with):
                detail = _MISFIT.format(why)
                error = JobError("unknown_version", _LAST.format(detail, claim.chain_version or "unknown"))
                return Unfit(detail, error)
            # A fork may expire later than the job whose outputs it has.
            for definition in (now, *ran_with.values()):
                await self._keep(definition, claim, records)
        records.claim = replace(claim, chain_version=now.version if now else "")
        outputs = {step.name: step.output for step in claim.steps}
        chain = overridden(chain, claim.overrides, claim.prompts)
        return JobRun(claim=records.claim, chain=chain, payload=payload, texts=texts, records=records, outputs=outputs)

    async def _keep(self, definition: Definition, claim: Claim, records: Records) -> None:
        """Has the definition stored until the job expires; without a thread where that is known."""
        if self._store.is_kept(definition, claim.expires_at):
            return
        if not await records.persistence.write(self._store.keep, definition, claim.expires_at):
            self._logger.warning("version of a chain not stored, it is too large", version=definition.version)

    def _definition(self, chain: Chain) -> Definition | None:
        """The chain's definition; None where it can't be made: then its jobs name no version."""
        try:
            return definition_of(chain, self._model)
        except Exception as error:  # noqa: BLE001  # of the chain's own types
            self._logger.error("chain has no version", chain=chain.name, extra=describe(error))
            return None
