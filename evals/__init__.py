"""How good the chains' results are, in numbers; and whether their diagrams are drawn as they were written."""
