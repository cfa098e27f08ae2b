"""The registry: every chain that a caller can name."""

from jobchain.chains.chain import Chain
from jobchain.chains.compare_guidelines import COMPARE_GUIDELINES
from jobchain.chains.extract_actions import EXTRACT_ACTIONS
from jobchain.chains.guideline_checklist import GUIDELINE_CHECKLIST

CHAINS: dict[str, Chain] = {
    chain.name: chain
    for chain in (
        GUIDELINE_CHECKLIST,
        EXTRACT_ACTIONS,
        COMPARE_GUIDELINES,
    )
}

DEFAULT_CHAIN = GUIDELINE_CHECKLIST
"""The chain of the short form of a request, `{"input_text": …}`."""
