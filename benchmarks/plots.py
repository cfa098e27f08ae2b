"""Draws charts with matplotlib, which lives in `.venv-baseline`: `python -m benchmarks.plots` reads one as JSON.

`draw` runs that from any other environment.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-baseline" / "bin" / "python"

_COLORS = ("#0b6e4f", "#c1666b", "#4a6fa5", "#8d8741")


@dataclass(frozen=True, slots=True)
class Chart:
    """Values by series and place: `values[series][place]` is (median, low, high).

    Lines where the places are numbers, else groups of bars.
    """

    title: str
    x: str
    y: str
    places: Sequence[float | str]
    values: Mapping[str, Sequence[tuple[float, float, float]]]
    log_x: bool = False
    log_y: bool = False


def draw(chart: Chart, name: str, page: Path) -> tuple[str, ...]:
    """Draws `<name>.svg` in the folder beside `page` that bears its name; gives its path from there.

    Without `.venv-baseline`, as in a quick run, nothing is drawn.
    """
    if not PYTHON.exists():
        return ()
    path = page.parent / page.stem / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    order = json.dumps(asdict(chart) | {"path": str(path)})
    subprocess.run([PYTHON, "-m", "benchmarks.plots"], input=order, text=True, cwd=ROOT, check=True)
    return (str(path.relative_to(page.parent)),)


def _draw(chart: Mapping[str, Any]) -> None:
    import matplotlib as mpl  # noqa: PLC0415  # only in `.venv-baseline`
    from matplotlib import pyplot  # noqa: PLC0415

    # The same chart is the same file, and its text stays text.
    mpl.rcParams |= {"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 10}
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    lines = all(isinstance(place, int | float) for place in chart["places"])
    for number, (name, values) in enumerate(chart["values"].items()):
        middle = [value[0] for value in values]
        errors = [[value[0] - value[1] for value in values], [value[2] - value[0] for value in values]]
        color = _COLORS[number % len(_COLORS)]
        if lines:
            axes.errorbar(chart["places"], middle, errors, label=name, color=color, marker="o", capsize=4)
            continue
        width = 0.5 / len(chart["values"])
        at = [place + (number - (len(chart["values"]) - 1) / 2) * width for place in range(len(values))]
        bars = axes.bar(at, middle, width, yerr=errors, label=name, color=color, capsize=4)
        axes.bar_label(bars, fmt="{:.3g}", padding=3)
    if lines:
        axes.set_xscale("log" if chart["log_x"] else "linear")
        axes.set_xticks(chart["places"], [f"{place:g}" for place in chart["places"]], minor=False)
        axes.minorticks_off()
    else:
        axes.set_xticks(range(len(chart["places"])), chart["places"])
        axes.margins(y=0.15)
    axes.set(title=chart["title"], xlabel=chart["x"], ylabel=chart["y"])
    if chart["log_y"]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(chart["values"]) > 1:
        axes.legend(frameon=False)
    metadata = {"Date": None} if chart["path"].endswith(".svg") else None
    figure.savefig(chart["path"], metadata=metadata, facecolor="white")


if __name__ == "__main__":
    _draw(json.load(sys.stdin))
