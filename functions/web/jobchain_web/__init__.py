"""The web function: serves the pages and what they load from its own files."""
