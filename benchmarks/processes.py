"""CPU time and memory of processes, by psutil. Linux only: elsewhere it knows no ended children and no shared pages."""

from contextlib import suppress

from psutil import NoSuchProcess, Process


def descendants(root: int) -> list[int]:
    """All processes that come from one, without itself."""
    return [process.pid for process in Process(root).children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, in steps of a hundredth of a second."""
    times = Process(pid).cpu_times()
    return times.user + times.system


def cpu_seconds_of_children(pid: int) -> float:
    """Time of the children that have ended and were waited for, and of theirs."""
    times = Process(pid).cpu_times()
    return times.children_user + times.children_system


def cpu_seconds_below(root: int) -> float:
    """Time of all that comes from a process, the ended included, without its own."""
    total = cpu_seconds_of_children(root)
    for pid in descendants(root):
        # One that has just ended counts with its parent's children.
        with suppress(NoSuchProcess):
            total += cpu_seconds(pid) + cpu_seconds_of_children(pid)
    return total


def cpu_seconds_of_tree(root: int) -> float:
    """Time of a process and of all that comes from it."""
    return cpu_seconds(root) + cpu_seconds_below(root)


def memory(pid: int) -> int:
    """Bytes of memory; of a page that several processes share, each counts its part (proportional set size).

    0 for a process that has ended.
    """
    try:
        return int(Process(pid).memory_full_info().pss)
    except NoSuchProcess:
        return 0


def environment(pid: int) -> dict[str, str]:
    """The variables of a process; none of one that has ended."""
    try:
        return Process(pid).environ()
    except NoSuchProcess:
        return {}
