"""The commands of chains' authors: what each takes, and what it calls. They use no API and no AWS."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from jobchain_cli.errors import CommandError
from jobchain_cli.options import AsJson, AsMarkdown, AsText, Set, form_of

if TYPE_CHECKING:
    from jobchain_cli.local_runs import Wanted

PANEL = "For authors of chains"

authors = typer.Typer()

Which = Annotated[
    str, typer.Argument(metavar="PACKAGE[:CHAIN]", help="A module, and the chain's name in it; or an installed chain.")
]
Sources = Annotated[list[str] | None, typer.Argument(metavar="FILE|-|URL...", help="The texts; - is standard input.")]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The model of all steps; else OPENAI_MODEL, or without it the offline model."),
]
Approve = Annotated[
    list[str] | None,
    typer.Option(metavar="STEP", help="Approve this step as it is shown, without asking; repeat it for more."),
]
Effort = Annotated[str | None, typer.Option(metavar="EFFORT", help="How much the model reasons, in all steps.")]


@authors.command(rich_help_panel=PANEL)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the package, its module and the chain.")],
) -> None:
    """Make a package with a chain in a new folder: its module, a test, and a sample text."""
    from jobchain_cli import new_chain

    new_chain.make(name, Path.cwd())


@authors.command(rich_help_panel=PANEL)
def check(which: Which) -> None:
    """Print the mistakes of a chain, or of all chains of a module, each with its file, line and correction."""
    _module("author_chains")
    from jobchain_cli import author_chains

    raise typer.Exit(author_chains.check(which))


@authors.command(rich_help_panel=PANEL)
def run(
    which: Which,
    sources: Sources = None,
    model: Model = None,
    effort: Effort = None,
    values: Set = None,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="Only this step, and those that it needs.")] = None,
    approve: Approve = None,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    as_text: AsText = False,
) -> None:
    """Run a chain in this process, and print its result. Nothing is stored."""
    form = form_of(as_json, as_markdown, as_text)
    wanted = _wanted(which, sources, model, effort, values, approve)

    from jobchain_cli import local_runs

    raise typer.Exit(local_runs.run(wanted, form, step))


@authors.command(rich_help_panel=PANEL)
def record(
    which: Which,
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where the answers go, such as tests/answers.json.")],
    sources: Sources = None,
    model: Model = None,
    effort: Effort = None,
    values: Set = None,
    approve: Approve = None,
) -> None:
    """Run a chain, and keep the model's answers in a file, which a test reads with `recorded`."""
    wanted = _wanted(which, sources, model, effort, values, approve)

    from jobchain_cli import local_runs

    raise typer.Exit(local_runs.record(wanted, to))


def _wanted(
    which: str,
    sources: list[str] | None,
    model: str | None,
    effort: str | None,
    values: list[str] | None,
    approve: list[str] | None,
) -> "Wanted":
    _module("local_runs")
    from jobchain_cli.local_runs import Wanted

    return Wanted(which, tuple(sources or ()), model, effort, tuple(values or ()), tuple(approve or ()))


def _module(name: str) -> ModuleType:
    """A module of these commands. Raises CommandError where its packages are missing."""
    from importlib import import_module

    try:
        return import_module(f"jobchain_cli.{name}")
    except ModuleNotFoundError as error:
        how = "pip install '.[chains]' in a checkout of Jobchain"
        raise CommandError(f"an author's commands need the package {error.name}: {how}") from error
