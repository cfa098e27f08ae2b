"""A model of the deployed stack, and of what it costs."""
