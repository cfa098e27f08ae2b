"""`python -m evals report|mermaid|quotes`: run from the project's root."""

import argparse
import sys
from pathlib import Path

from evals import mermaid_check, quotes, report
from local import signals
from local.errors import LocalError


def main() -> int:
    """The exit status: 0 done, 1 failed (argparse: 2), 128 + n if signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    evaluate = commands.add_parser("report", help="run the chains over documents and cases, and write the numbers")
    evaluate.add_argument("--chain", default="", help="only this one")
    evaluate.add_argument("--documents", type=Path, help="a folder of Markdown files")
    evaluate.add_argument("--out", type=Path, default=Path("docs/explanation/evals.md"), help="default: %(default)s")
    commands.add_parser("mermaid", help="run a hundred jobs and draw every diagram as the dashboard does")
    check = commands.add_parser("quotes", help="count the sentences that the check of quotes is wrong about")
    check.add_argument("folder", type=Path, help="a folder of documents (.md, .txt)")
    check.add_argument("--altered", type=int, default=1000, help="altered sentences (default: %(default)s)")
    check.add_argument(
        "--seed", type=int, default=1, help="what the altered ones are drawn with (default: %(default)s)"
    )
    check.add_argument("--examples", type=int, default=10, help="sentences to show (default: %(default)s)")
    options = parser.parse_args()
    signals.listen()
    try:
        if options.command == "mermaid":
            mermaid_check.check(Path.cwd(), print)
        elif options.command == "quotes":
            print(quotes.shown(quotes.measure(options.folder, options.altered, options.seed), options.examples))
        else:
            page = report.run(Path.cwd(), options.chain, options.documents, _say)
            options.out.write_text(page, encoding="utf-8")
            _say(f"evals: written to {options.out}")
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except signals.Stopped as stopped:
        return 128 + stopped.number
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
