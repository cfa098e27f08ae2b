from jobchain import Chain, Mermaid, Text, flowchart

chain = Chain("guideline", effort="low", description="A summary, the duties, and a diagram.")


@chain.ask
def summary(document: Text) -> str:
    """Summarize the document for the people who have to follow it."""


@chain.ask(effort="medium", max_output_tokens=4_000)
def duties(document: Text, summary: str) -> list[str]:
    """List what the document asks for, in its order, beginning with what the summary names."""


@chain.code
def diagram(duties: list[str]) -> Mermaid:
    return Mermaid(flowchart([(duty, duty) for duty in duties], []))
