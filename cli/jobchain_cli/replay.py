"""`jobchain replay`: jobs run again with another model, effort or prompt, and compared with what they were."""

import os
from typing import Annotated

import typer

from jobchain_cli import target
from jobchain_cli.choices import Effort
from jobchain_cli.completion import offered_chains, offered_ids

replays = typer.Typer()

Limit = Annotated[
    float | None,
    typer.Option("--max-cost-usd", metavar="USD", help="What all jobs may cost together. Needed, but with --dry-run."),
]


@replays.command()
def replay(
    event_ids: Annotated[
        list[str] | None, typer.Argument(metavar="EVENT_ID...", help="The jobs.", autocompletion=offered_ids)
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --last: only jobs of this chain.", autocompletion=offered_chains),
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, max=1000, metavar="N", help="The newest completed jobs, instead of ids.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model of the replay.")] = None,
    effort: Annotated[Effort | None, typer.Option(help="How much it reasons.")] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file with the prompt of the step of --from, for the replay.")
    ] = None,
    from_step: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help="This step again, and those that need it; else all."),
    ] = None,
    max_cost: Limit = None,
    parallel: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many jobs at a time.")] = 8,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print how many jobs, and their expected cost.")
    ] = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Where the page goes; else replay-ID.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as one line of JSON.")] = False,
    of: Annotated[
        str | None, typer.Option("--of", metavar="REPLAY", help="Make the page of an earlier replay again.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Stop waiting then; the jobs continue.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The API; as of other commands.")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="As of other commands.")] = None,
) -> None:
    """Run jobs again with another model, effort or prompt, under one budget, and compare the answers on a page."""
    chosen = [event_ids, last, of]
    if sum(bool(each) for each in chosen) != 1:
        raise typer.BadParameter("name the jobs: give their ids, or --last N (with --chain NAME), or --of REPLAY")
    if chain and not last:
        raise typer.BadParameter("--chain goes with --last")
    if prompt and not from_step:
        raise typer.BadParameter("--prompt goes with --from: name the step whose prompt it is")
    if of and (
        found := [
            name
            for name, value in {
                "--model": model,
                "--effort": effort,
                "--prompt": prompt,
                "--from": from_step,
                "--max-cost-usd": max_cost,
            }.items()
            if value
        ]
    ):
        raise typer.BadParameter(f"{found[0]} does not go with --of, which runs nothing")
    if max_cost is None and not dry_run and not of:
        raise typer.BadParameter("--max-cost-usd is missing: what all jobs may cost together; --dry-run estimates it")

    found_target = target.find(url, api_key, os.environ, target.config_file())

    from jobchain_cli.replay_command import Request, make, show_again

    if of:
        raise typer.Exit(show_again(found_target, of, out, as_json=as_json))
    request = Request(
        event_ids=tuple(dict.fromkeys(event_ids or ())),
        chain=chain,
        last=last,
        model=model,
        effort=effort and effort.value,
        prompt_file=prompt,
        from_step=from_step,
        max_cost_usd=max_cost,
        parallel=parallel,
    )
    raise typer.Exit(make(found_target, request, out, as_json=as_json, dry_run=dry_run, limit_seconds=timeout))
