"""Jobchain: GPT chains as background jobs. What every function shares."""
