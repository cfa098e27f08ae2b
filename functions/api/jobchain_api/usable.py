"""Which chains of the deployment new jobs and forks may use."""

from jobchain.chains.chain import Chain
from jobchain.chains.mistakes import ChainError


def usable(chain: Chain | None) -> Chain | None:
    """The chain; None for one whose steps can't be built. They are built when they are first looked at."""
    try:
        return chain if chain and chain.steps[:] else None
    except ChainError:
        return None


def why_unusable(name: str) -> str:
    """What a caller is told who asks for a chain that the deployment has and can't use."""
    return f"the chain {name} can't be used here: GET /chains says why"
