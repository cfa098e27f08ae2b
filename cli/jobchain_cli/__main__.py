"""`jobchain`, or `python -m jobchain_cli`: docs/cli.md."""

import os
import sys
from collections.abc import Sequence

from jobchain_cli.errors import Code, CommandError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives its exit code: see `Code`."""
    out = sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal does not have is no reason to fail.
            stream.reconfigure(errors="replace")
    try:
        code = _run(arguments)
        out.flush()
    except KeyboardInterrupt:
        return Code.INTERRUPTED
    except BrokenPipeError:
        pass
    except CommandError as error:
        print(f"jobchain: {' '.join(str(error).split())}", file=sys.stderr)
        return error.code
    else:
        # Typer, too, may have found that the reader has gone; it puts another stream in place then.
        if sys.stdout is out:
            return code
    # The reader of the output, such as `head`, has seen enough. What is buffered must not be tried again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return Code.DONE


def _run(arguments: Sequence[str] | None) -> int:
    # Not above: Ctrl-C must not print a traceback meanwhile either.
    from jobchain_cli.app import app

    try:
        app(args=arguments, prog_name="jobchain")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Code.DONE
    return Code.DONE


if __name__ == "__main__":
    sys.exit(main())
