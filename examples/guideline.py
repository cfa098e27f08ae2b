from pydantic import BaseModel

from jobchain import Chain, Mermaid, Quote, Text, concatenate, flowchart

chain = Chain("guideline", description="A summary, a list of duties, and a diagram of it.", effort="low")

class Duty(BaseModel):
    text: str
    source: Quote

@chain.ask
def summary(document: Text) -> str:
    """Summarize the document for the people who have to follow it."""

@chain.ask(effort="medium", max_output_tokens=4_000, long=concatenate)
def duties(document: Text) -> list[Duty]:
    """List what the document asks for, each with the sentence that asks for it, word for word."""

@chain.code
def diagram(duties: list[Duty]) -> Mermaid:
    return Mermaid(flowchart([(duty.text, duty.text) for duty in duties], []))
