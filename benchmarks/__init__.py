"""Measurements of the system. `python -m benchmarks.<name>` runs one, and leaves what it found in `.local/bench`."""
