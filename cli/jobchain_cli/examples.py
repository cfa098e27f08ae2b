"""The examples at the end of each command's help."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

ID = "f7ef99a8"
ENDPOINT = "ep_5f2a9c1d7e30"
WEBHOOK = "evt_019ad00c5f8f3b1e5a7c9d2e4f607182"

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "submit": (
        "jobchain submit notes.md --markdown",
        "jobchain submit guidelines/ --markdown --out results",
        "cat notes.md | jobchain submit --json",
        "jobchain submit --chain compare_guidelines old.pdf new.pdf --max-cost 0.05",
    ),
    "watch": (f"jobchain watch {ID}", f"jobchain watch {ID} --timeout 60 --json"),
    "show": (f"jobchain show {ID}", f"jobchain show {ID} --prompts --step summary"),
    "events": (f"jobchain events {ID}", f"jobchain events {ID} --follow --json"),
    "open": (f"jobchain open {ID}",),
    "list": ("jobchain list --status failed --after 2d", "jobchain list --metadata source=handbook --json"),
    "cancel": (f"jobchain cancel {ID}",),
    "retry": (f"jobchain retry {ID}", "jobchain retry --failed --since 1h --dry-run"),
    "fork": (f"jobchain fork {ID} --from checklist",),
    "approve": (
        f"jobchain approve {ID} --by Ada",
        f"jobchain approve {ID} --step review --edit letter.txt",
    ),
    "reject": (f'jobchain reject {ID} --comment "the dates are wrong"',),
    "replay": (
        "jobchain replay --chain guideline_checklist --last 50 --model gpt-6-luna --max-cost-usd 1",
        f"jobchain replay {ID} --effort high --dry-run",
    ),
    "delete": (f"jobchain delete {ID}", f"jobchain delete {ID} --yes"),
    "stats": ("jobchain stats",),
    "usage": ("jobchain usage --by chain", "jobchain usage --from 2026-11-01 --to 2026-11-30 --json"),
    "chains": ("jobchain chains", "jobchain chains --json"),
    "login": ("jobchain login https://example.com/v1", "jobchain login https://example.com/v1 < key.txt"),
    "logout": ("jobchain logout",),
    "webhooks list": ("jobchain webhooks list", "jobchain webhooks list --json"),
    "webhooks create": (
        "jobchain webhooks create https://hooks.example.com/jobchain",
        "jobchain webhooks create https://hooks.example.com/jobchain --event job.failed --chain guideline_checklist",
    ),
    "webhooks test": (f"jobchain webhooks test {ENDPOINT}",),
    "webhooks rotate": (f"jobchain webhooks rotate {ENDPOINT}",),
    "webhooks enable": (f"jobchain webhooks enable {ENDPOINT}",),
    "webhooks delete": (f"jobchain webhooks delete {ENDPOINT} --yes",),
    "webhooks deliveries": (
        "jobchain webhooks deliveries --state dead",
        f"jobchain webhooks deliveries --endpoint {ENDPOINT} --json",
    ),
    "webhooks delivery": (f"jobchain webhooks delivery {WEBHOOK}",),
    "webhooks redeliver": (f"jobchain webhooks redeliver {WEBHOOK}",),
    "listen": (
        "jobchain listen --forward http://localhost:3000/hook",
        "jobchain listen --forward http://localhost:3000/hook --event job.failed --retries 5",
    ),
    "new": ("jobchain new door_rules",),
    "check": ("jobchain check door_rules", "jobchain check door_rules:chain"),
    "run": ("jobchain run door_rules texts/sample.md", "jobchain run door_rules texts/sample.md --model gpt-6-luna"),
    "record": ("jobchain record door_rules texts/sample.md --to tests/answers.json",),
    "redrive": ("jobchain redrive --stack jobchain",),
    "sweep": ("jobchain sweep --json",),
    "smoke": ("jobchain smoke --stack jobchain",),
    "pause": ("jobchain pause --stack jobchain",),
    "resume": ("jobchain resume --stack jobchain",),
    "logs": (
        f"jobchain logs {ID}-1c2d-4e3f-8a9b-0c1d2e3f4a5b --stack jobchain",
        "jobchain logs --errors --since 2h --stack jobchain",
    ),
    "keys create": ("jobchain keys create --tenant acme --cost-usd-per-day 5 --stack jobchain",),
    "keys list": ("jobchain keys list --tenant acme",),
    "keys revoke": ("jobchain keys revoke 3f2a9c1b --stack jobchain",),
    "letters list": ("jobchain letters list --stack jobchain",),
    "letters redrive": ("jobchain letters redrive --stack jobchain",),
    "letters drop": ("jobchain letters drop --all --stack jobchain",),
}


def add_examples(app: "typer.Typer", before: str = "") -> None:
    """Gives each command of the app its examples, as the end of its help."""
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        if lines := EXAMPLES.get(f"{before}{name}"):
            command.epilog = "\n\n".join(_shown(lines))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{before}{group.name} " if group.name else before)


def _shown(lines: tuple[str, ...]) -> Iterator[str]:
    yield "Examples:" if len(lines) > 1 else "Example:"
    yield from (f"  {line}" for line in lines)
