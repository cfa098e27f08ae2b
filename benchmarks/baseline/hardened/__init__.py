"""The baseline of one who must lose no job: what Celery offers for that, and what Postgres must do beside it.

It keeps these of Jobchain's promises, in the way that is usual with these tools:

- *An accepted job ends.* The job and its message are one transaction (an outbox), which a relay sends to the broker. A
  message is acknowledged when its job has ended (`acks_late`), and comes back otherwise. Whatever Redis does, the row
  knows when the job must be checked, and the relay sends it again.
- *A completed step is never called again.* Each step is stored with its usage before the next one starts.
- *One worker at a time.* A claim is a conditional update with a lease, which a heartbeat extends. Each later write
  names its claim, so that a worker that lost its lease changes nothing.
- *A POST may be repeated*: an idempotency key is one job.
- *A transient fault makes a job wait*, and one that brings down its workers fails after some tries.

It has none of Jobchain's budgets, rate limits of the account, breakers, fairness, cancelling, deadlines and estimates
of calls that no one recorded, which spares it work.
"""
