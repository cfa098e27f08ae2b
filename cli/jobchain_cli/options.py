"""Options that several commands share."""

from typing import Annotated

import typer

from jobchain_cli.choices import Effort, Form

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for each job.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Results as Markdown.")]
AsText = Annotated[bool, typer.Option("--text", help="Results as text (the default).")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A field of the chain's payload; repeat it for more."),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="The model of its calls, in place of the chain's.")
]
OwnEffort = Annotated[
    Effort | None, typer.Option("--effort", help="How much the model reasons, in place of the chain's.")
]


def form_of(as_json: bool, as_markdown: bool, as_text: bool) -> Form:
    """The form that was asked for. Raises BadParameter for more than one."""
    wanted = [form for form, is_it in zip(Form, (as_text, as_markdown, as_json), strict=True) if is_it]
    if len(wanted) > 1:
        raise typer.BadParameter("give one of --json, --markdown and --text")
    return wanted[0] if wanted else Form.TEXT
