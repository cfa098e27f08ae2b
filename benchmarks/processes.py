"""What processes use, as /proc tells it: https://man7.org/linux/man-pages/man5/proc.5.html. Linux only."""

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat that come after the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def descendants(root: int) -> list[int]:
    """All processes that come from one, without itself."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found, new = [], [root]
    while new:
        new = [pid for pid, parent in parents.items() if parent in new]
        found += new
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, in steps of a hundredth of a second."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_seconds_of_children(pid: int) -> float:
    """Time of the children that have ended and were waited for, and of theirs."""
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS


def cpu_seconds_below(root: int) -> float:
    """Time of all that comes from a process, the ended included, without its own."""
    total = cpu_seconds_of_children(root)
    for pid in descendants(root):
        # One that has just ended counts with its parent's children.
        with suppress(FileNotFoundError, ProcessLookupError):
            total += cpu_seconds(pid) + cpu_seconds_of_children(pid)
    return total


def cpu_seconds_of_tree(root: int) -> float:
    """Time of a process and of all that comes from it."""
    return cpu_seconds(root) + cpu_seconds_below(root)


def memory(pid: int) -> int:
    """Bytes of memory; of a page that several processes share, each counts its part (proportional set size).

    None of a process that has just ended.
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
