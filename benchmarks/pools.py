"""Which of Celery's pools suits jobs that wait for a model: the hardened form with each, at equal concurrency."""

from collections import defaultdict

from benchmarks import client, model_server, ours
from benchmarks.baseline import services
from benchmarks.report import Fragment
from benchmarks.sides import Terms
from benchmarks.spread import number
from jobchain.markdown import table

DELAYS = {0.0: 600, 0.5: 300}
"""Jobs by the seconds of a call."""

FORMS = {
    f"threads, {services.CORES} processes": services.hardened("threads", ours.AT_ONCE),
    f"gevent, {services.CORES} processes": services.hardened("gevent", ours.AT_ONCE),
    f"prefork, {ours.AT_ONCE} processes": services.hardened("prefork", ours.AT_ONCE, processes=1),
}


def pools(terms: Terms) -> dict[str, Fragment]:
    """The section: one run of each pool."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, form in FORMS.items():
        with model_server.running() as model, services.start(model.base_url, form=form) as side:
            client.warm_up(side.url, model, ours.AT_ONCE)
            for delay, count in DELAYS.items():
                model.set_delay(delay)
                before = side.cpu_seconds()
                found[name].append(client.run_jobs(side.url, model, range(count)).per_second)
                if delay == 0:
                    found[name].append((side.cpu_seconds() - before) / count * 1000)
            found[name].append(side.memory() / 1e6)
        terms.say(f"pools, {name}: {found[name]}")
    head = ["", "jobs/s at 0 ms", "CPU per job, ms", "jobs/s at 500 ms", "MB after"]
    body = f"""\
The hardened form with each of Celery's pools, {ours.AT_ONCE} jobs at a time, one run each. `eventlet` is left out:
`celery[eventlet]` installs it only below Python 3.10. What the sections above call *hardened* has threads.

{table(head, [[name, *map(number, values)] for name, values in found.items()])}"""
    return {"56-pools": Fragment("Celery's pools for this work", body, data=dict(found))}
