"""`python -m local demo|dev|logs|deploy|…`: the local stacks from the command line, run from the project's root."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from local import signals
from local.errors import LocalError

# Each command imports what it needs. The imports take half a second, and Ctrl-C must not print a traceback meanwhile:
# `main` listens to signals first.


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 1 failed (argparse: 2), 128 + n if signal n ended the demo."""
    options = _parser().parse_args(arguments)
    signals.listen()
    try:
        return _run(options)
    except signals.Stopped as stopped:
        # `dev` and `logs` run until they are stopped: that is no failure of theirs.
        return 0 if options.command in ("dev", "logs", "sam-api") else 128 + stopped.number
    except BrokenPipeError:
        # The reader of the output, such as `head`, has gone. What is buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The embedded local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run one text through the whole chain; KEEP=1 keeps the stack up")
    demo.add_argument("file", nargs="?", type=Path, help="a UTF-8 text (default: the project's example)")
    dev = commands.add_parser("dev", help="run the stack until Ctrl-C; changed code is reloaded")
    dev.add_argument("--port", type=int, default=4566, help="on 127.0.0.1 (default: %(default)s, else a free one)")
    commands.add_parser(
        "logs", help="print the last 50 lines of the functions' logs of the stack that `dev` runs, and follow them"
    )
    commands.add_parser("aws-env", help="print shell commands that point AWS's tools at the stack that `dev` runs")
    deploy = commands.add_parser("deploy", help="deploy the build to a running emulator, such as LocalStack")
    deploy.add_argument("--endpoint-url", default="http://127.0.0.1:4566", help="the emulator (default: %(default)s)")
    deploy.add_argument(
        "--build", type=Path, help="the folder of the build (default: .aws-sam/build, if it is current)"
    )
    deploy.add_argument("--public-url", help="the URL that its users have for it, if another")
    deploy.add_argument("--model-url", default="", help="the URL that functions have for the offline model")
    sam_api = commands.add_parser("sam-api", help="serve the API by `sam local start-api`")
    sam_api.add_argument("--port", type=int, default=3000, help="on 127.0.0.1 (default: %(default)s)")
    sam_invoke = commands.add_parser("sam-invoke", help="run a function once by `sam local invoke`")
    sam_invoke.add_argument("function", help="its name in template.yaml, such as WorkerFunction")
    sam_invoke.add_argument("--event", type=Path, required=True, help="a file, such as events/sqs_job.json")
    preflight = commands.add_parser("preflight", help="check the model: whether its server has it, and until when")
    preflight.add_argument("--stack", help="the CloudFormation stack whose model it is (default: that of `.env`)")
    commands.add_parser("template", help="print template.yaml after SAM's transform, for tools that read no SAM")
    commands.add_parser("openapi", help="print the HTTP contract, as /openapi.json answers it")
    return parser


def _run(options: argparse.Namespace) -> int:
    try:
        status: int | None = _COMMANDS[options.command](options)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status or 0


def _demo(options: argparse.Namespace) -> None:
    from local import demo

    demo.run(Path.cwd(), options.file or demo.EXAMPLE, sys.stdout, keep=os.environ.get("KEEP") == "1")


def _dev(options: argparse.Namespace) -> None:
    from local import dev

    dev.run(Path.cwd(), options.port, _say)


def _logs(_: argparse.Namespace) -> None:
    from local import dev

    dev.follow_logs(Path.cwd(), _say)


def _aws_env(_: argparse.Namespace) -> None:
    from local import dev

    _say(dev.shell_variables(Path.cwd()))


def _deploy(options: argparse.Namespace) -> None:
    from local import running_emulator
    from local.emulator_clients import Credentials
    from local.settings import Settings

    endpoint = options.endpoint_url
    target = running_emulator.Target(
        endpoint, options.public_url or endpoint, options.model_url, Credentials.for_endpoint(endpoint)
    )
    running_emulator.run(Path.cwd(), options.build, target, Settings.load(Path.cwd()), _say)


def _sam_api(options: argparse.Namespace) -> None:
    from local import sam_local

    sam_local.start_api(Path.cwd(), options.port, _say)


def _sam_invoke(options: argparse.Namespace) -> None:
    from local import sam_local

    sam_local.invoke(Path.cwd(), options.function, options.event, _say)


def _preflight(options: argparse.Namespace) -> int:
    from local import preflight

    return preflight.run(Path.cwd(), options.stack)


def _template(_: argparse.Namespace) -> None:
    from local import stack

    sys.stdout.write(stack.translated())


def _openapi(_: argparse.Namespace) -> None:
    from local import openapi

    sys.stdout.write(openapi.document())


def _say(text: str) -> None:
    print(text, flush=True)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int | None]] = {
    "demo": _demo,
    "dev": _dev,
    "logs": _logs,
    "aws-env": _aws_env,
    "deploy": _deploy,
    "sam-api": _sam_api,
    "sam-invoke": _sam_invoke,
    "preflight": _preflight,
    "template": _template,
    "openapi": _openapi,
}


if __name__ == "__main__":
    sys.exit(main())
