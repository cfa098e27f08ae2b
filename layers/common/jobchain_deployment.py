"""The chains that are deployed. A build writes this module, of the packages that its list names."""

CHAINS = {
    "guideline_checklist": ("jobchain_chains.guideline_checklist:chain", "jobchain"),
    "extract_actions": ("jobchain_chains.extract_actions:chain", "jobchain"),
    "compare_guidelines": ("jobchain_chains.compare_guidelines:chain", "jobchain"),
}
"""The chains by their names: where each is, and its package."""

DEFAULT_CHAIN = "guideline_checklist"
"""The chain of the short form of a request, `{"input_text": …}`; empty for none."""
