"""The registry: every chain that a caller can name."""

from jobchain.chains.chain import Chain
from jobchain.chains.guideline_checklist import GUIDELINE_CHECKLIST

CHAINS: dict[str, Chain] = {chain.name: chain for chain in (GUIDELINE_CHECKLIST,)}

DEFAULT_CHAIN = GUIDELINE_CHECKLIST
"""What the short form of a request, `{"input_text": …}`, stands for."""
