"""Which model a job asks, as far as that is known before it runs: its pace is that model's."""

import re
from collections.abc import Collection

from jobchain.chains.chain import Chain
from jobchain.domain import Tier

# As in `jobchain.prices`: a snapshot's limits are those of its family.
# https://platform.openai.com/docs/guides/rate-limits
_SNAPSHOT_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def share_limits(model: str, other: str) -> bool:
    """Whether the account's limits of both are the same ones."""
    return _SNAPSHOT_DATE.sub("", model) == _SNAPSHOT_DATE.sub("", other)


def paced_model(chain: Chain | None, named: str | None, deployments: str) -> str:
    """The model whose pace a job follows: the one that all its calls ask, else the deployment's.

    `named` is the one that the job names itself, None for its chain's.
    """
    asked = named or _common_model(chain) or deployments
    # Else a caller would get round the pace, and the turns of tenants, by another name of the same model.
    return deployments if share_limits(asked, deployments) else asked


def fallback_of_job(
    chain: Chain | None, named: str | None, tier: Tier, completed: Collection[str], deployments: str
) -> str | None:
    """A model with which the job can go on while the deployment's is refused; None where one of its calls has none."""
    if chain is None or named or tier is not Tier.STANDARD:
        return None
    left = [step.options for step in chain.calls if step.name not in completed]
    fallbacks = [options.fallback_model for options in left if options.model in (None, deployments)]
    can_run = fallbacks and all(fallback not in (None, deployments) for fallback in fallbacks)
    return fallbacks[0] if can_run else None


def _common_model(chain: Chain | None) -> str | None:
    named = {step.options.model for step in chain.calls} if chain else set()
    return named.pop() if len(named) == 1 else None
