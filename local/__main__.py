"""`python -m local demo|dev|logs|openapi`: the embedded stack from the command line, run from the project's root."""

import argparse
import os
import sys
from pathlib import Path

from local import signals
from local.errors import LocalError

# The embedded stack's imports take half a second, in which Ctrl-C must not print a traceback either: they come
# in `_run`, once `main` listens to signals.


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 1 failed (argparse: 2), 128 + n if signal n ended the demo."""
    options = _parser().parse_args(arguments)
    signals.listen()
    try:
        return _run(options)
    except signals.Stopped as stopped:
        # `dev` and `logs` run until they are stopped: that is no failure of theirs.
        return 0 if options.command in ("dev", "logs") else 128 + stopped.number
    except BrokenPipeError:
        # The reader of the output, such as `head`, has gone. What is buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The embedded local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run one text through the whole chain; KEEP=1 keeps the stack up")
    demo.add_argument("file", nargs="?", type=Path, help="a UTF-8 text (default: the project's example)")
    dev = commands.add_parser("dev", help="run the stack until Ctrl-C, with changed code taken over")
    dev.add_argument("--port", type=int, default=4566, help="on 127.0.0.1 (default: %(default)s, else a free one)")
    commands.add_parser("logs", help="follow the functions' logs of the stack that `dev` runs")
    commands.add_parser("openapi", help="print the HTTP contract, as /openapi.json answers it")
    return parser


def _run(options: argparse.Namespace) -> int:
    from local import demo, dev  # noqa: PLC0415 - see above

    root = Path.cwd()
    try:
        match options.command:
            case "demo":
                demo.run(root, options.file or demo.EXAMPLE, sys.stdout, keep=os.environ.get("KEEP") == "1")
            case "dev":
                dev.run(root, options.port, _say)
            case "logs":
                dev.follow_logs(root, _say)
            case "openapi":
                from local import openapi  # noqa: PLC0415 - the others need no web framework

                sys.stdout.write(openapi.document())
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
