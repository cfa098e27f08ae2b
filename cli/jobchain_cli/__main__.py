"""`jobchain`, or `python -m jobchain_cli`: docs/reference/command-line.md."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from jobchain_cli.errors import Code, CommandError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives its exit code: see `Code`."""
    _replace_closed_streams()
    if sys.stdout is None:
        return _refuse("standard output is closed: send it to /dev/null where its text is not needed")
    out = sys.stdout
    try:
        code = _run(arguments)
        out.flush()
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    except BrokenPipeError:
        pass
    except CommandError as error:
        return _refuse(str(error), error.code)
    except OSError as error:
        # Such as a full disk behind the output. What is buffered must not be tried again at exit.
        if error.filename is None:
            _drop(out)
        return _refuse(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    else:
        # Typer, too, may have found that the reader has gone; it puts another stream in place then.
        if sys.stdout is out:
            return code
    # The reader of the output, such as `head`, has seen enough. What is buffered must not be tried again at exit.
    _drop(out)
    return Code.DONE


def _replace_closed_streams() -> None:
    # A shell's `<&-` and `2>&-` close them; without these, `print` would write errors to standard output.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal does not have is no reason to fail.
            stream.reconfigure(errors="replace")


def _refuse(message: str, code: Code = Code.ERROR) -> Code:
    # A server or a model may have written a part of it. `words` has this too, but needs the library of HTTP.
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split()))
    print(f"jobchain: {shown}", file=sys.stderr)
    return code


def _drop(out: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    # Not above: Ctrl-C must not print a traceback meanwhile either.
    try:
        from jobchain_cli.app import app
    except ModuleNotFoundError as error:
        raise CommandError(f"the command needs the package {error.name}: install jobchain[cli]") from error

    try:
        app(args=arguments, prog_name="jobchain")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Code.DONE
    return Code.DONE


if __name__ == "__main__":
    sys.exit(main())
