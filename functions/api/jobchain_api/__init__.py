"""The api function: creates jobs and shows them to their callers."""
