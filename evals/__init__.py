"""How good the chains' results are, in numbers; and whether Mermaid itself reads their diagrams."""
