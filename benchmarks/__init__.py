"""Jobchain beside a baseline, measured in one run on one machine: `make bench`.

A section of `docs/explanation/benchmarks.md` is a file `.local/bench/<nn>-<name>.json`, a `benchmarks.report.Fragment`;
each is one section. `python -m benchmarks.report` makes the page of those that are there, in the order of
names.
"""
