"""The times of the hardened form. Nothing is imported, so that the page can name them."""

LEASE_SECONDS = 30
"""How long a claim holds without a heartbeat; there are three in that time."""

CHECK_SECONDS = 300
"""A job that no worker has claimed for this long is sent again: its message may be lost."""

VISIBILITY_SECONDS = 60
"""After this long Redis's transport gives an unacknowledged message to another worker.

No worker can extend it, and a job may take longer. That is harmless here: the second worker does not get the claim.
"""

MOST_TRIES = 5
"""Claims in a row without a completed step, after which a job fails."""
