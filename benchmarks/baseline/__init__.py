"""The same jobs on the baseline: FastAPI, Celery, Redis and Postgres, in two forms.

This package is the *default* form, written as one would who knows these tools and takes their defaults: one process a
core in front (uvicorn) and behind (Celery's prefork), connections that are pooled and kept, one task that takes a job's
three steps, and one row a job. There is no ORM, which spares it work. It has no leases, no idempotency keys, no outbox
and no usage records; a job whose worker crashes stays `processing`.

`hardened` is the form of one who also has to keep Jobchain's promises, with all that Celery offers for that.

The chain is Jobchain's own in both: the same prompts, schemas, checks and outputs, asked for with the same library.
"""
