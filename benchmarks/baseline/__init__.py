"""The same jobs on the baseline: FastAPI, Celery, Redis and Postgres.

Written as one would who knows these tools and takes their defaults: one process a core in front (uvicorn) and behind
(Celery's prefork), connections that are pooled and kept, one task that takes a job's three steps, and one row a job.
There is no ORM, which spares it work. The chain is Jobchain's own: the same prompts, schemas, checks and outputs, asked
for with the same library. It does less than Jobchain where the baseline does: no leases, no idempotency keys, no
budgets, no usage records; a job whose worker crashes stays `processing`.
"""
