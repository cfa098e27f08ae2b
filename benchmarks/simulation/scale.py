"""What more jobs take than a simulation reaches: formulas, of the numbers of `inputs.toml` and of the code."""

import math

from benchmarks.simulation.inputs import Inputs
from jobchain.pace import HORIZON, MIN_DELAY, Full

BATCH = 100
"""Entries of `POST /jobs/batch`."""

_TRANSACTION = 99  # entries of it in one transaction, with one write of the day
_DAY_WRITES = 2
_STEPS = 1000
_DOUBLES = 1800.0
"""The seconds within which a table on demand takes twice its highest traffic:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
"""


def needed(per_second: float, most: float) -> int:
    """How many of something that lets `most` jobs a second through are needed for `per_second`."""
    # A hair less, so that what fits exactly is not one more.
    return max(1, math.ceil(per_second / most - 1e-9))


def batch_create_writes(inputs: Inputs) -> float:
    """The write units of the creation of a job in a large batch: a transaction writes the tenant's day once."""
    return inputs["table.create_writes"] - _DAY_WRITES + _DAY_WRITES / _TRANSACTION


def seconds_on_a_new_table(units: float, first: float, most: float) -> float:
    """How long a table takes for `units` write units that begins with `first` a second.

    It is reckoned to take twice as much after each half an hour, up to `most`.
    """
    passed, rate = 0.0, first
    while rate < most and units > rate * _DOUBLES:
        units -= rate * _DOUBLES
        passed += _DOUBLES
        rate = min(most, 2 * rate)
    return passed + units / rate


def asks_a_second(waiting: float, per_second: float) -> float:
    """How often the jobs of a backlog ask for a slot, all together, where the account lets `per_second` jobs through.

    Each asks again after a time that the limiter draws: `jobchain.pace.Full`.
    """
    each = 1 / per_second
    full = Full(max(MIN_DELAY, min(HORIZON, waiting * each)), each)
    return waiting / full.delay(math.ceil(waiting), 0.5)


def asks_a_job(jobs: float, per_second: float) -> float:
    """How often a job of a backlog asks until it gets a slot, on average, the last time included.

    It holds for a backlog of at least half an hour. The jobs of a shorter one ask less often, as workers are busy.
    """
    width = jobs / _STEPS
    # The backlog falls by one job in each `1 / per_second` seconds.
    middles = ((step + 0.5) * width for step in range(_STEPS))
    return 1 + sum(asks_a_second(waiting, per_second) * width / per_second for waiting in middles) / jobs


def refused_reads_a_second(inputs: Inputs, waiting: float, per_second: float) -> float:
    """The read units a second of the jobs of a backlog that ask for a slot."""
    return asks_a_second(waiting, per_second) * inputs["table.refused_reads"]


def backlog_for_reads(inputs: Inputs, per_second: float, most: float) -> float:
    """The backlog whose jobs read `most` units a second by asking."""
    low, high = 1.0, 1e12
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if refused_reads_a_second(inputs, middle, per_second) < most else (low, middle)
    return low


def dollars_of_asks(inputs: Inputs, asks: float) -> float:
    """US dollars of `asks` that are refused: a message that is sent, a tenth of a receive and of a deletion, and reads.

    The workers' time is not in it.
    """
    messages = 1 + 2 / 10
    return asks * (messages * inputs["price.sqs_request"] + inputs["table.refused_reads"] * inputs["price.table_read"])


def sweep_seconds(inputs: Inputs, waiting: float) -> float:
    """The least that a sweep takes to look through a backlog for lost workers: it reads one partition at a time."""
    return waiting * inputs["table.scan_reads"] / inputs["limit.partition_reads"]
