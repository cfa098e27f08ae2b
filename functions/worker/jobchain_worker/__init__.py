"""The worker function: runs the steps of jobs."""
