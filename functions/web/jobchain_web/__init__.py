"""The web function: serves the pages for people, and whatever they load, from files of its own."""
