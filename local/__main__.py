"""`python -m local demo|dev|logs|deploy|…`: the local stacks from the command line, run from the project's root."""

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
    dev = commands.add_parser("dev", help="run the stack until Ctrl-C, with changed code taken over")
    dev.add_argument("--port", type=int, default=4566, help="on 127.0.0.1 (default: %(default)s, else a free one)")
    commands.add_parser("logs", help="follow the functions' logs of the stack that `dev` runs")
    commands.add_parser("aws-env", help="print shell commands that point AWS's tools at the stack that `dev` runs")
    deploy = commands.add_parser(
        "deploy", help="deploy what `sam build` made to an emulator that runs, such as LocalStack"
    )
    deploy.add_argument("--endpoint-url", default="http://127.0.0.1:4566", help="where it is (default: %(default)s)")
    deploy.add_argument(
        "--build", type=Path, help="the folder of the build (default: .aws-sam/build, if it is current)"
    )
    deploy.add_argument("--public-url", help="where its users reach it, if elsewhere")
    deploy.add_argument("--model-url", default="", help="the offline model, as functions reach it")
    sam_api = commands.add_parser("sam-api", help="serve the API by `sam local start-api`")
    sam_api.add_argument("--port", type=int, default=3000, help="on 127.0.0.1 (default: %(default)s)")
    sam_invoke = commands.add_parser("sam-invoke", help="run a function once by `sam local invoke`")
    sam_invoke.add_argument("function", help="its name in template.yaml, such as WorkerFunction")
    sam_invoke.add_argument("--event", type=Path, required=True, help="a file, such as events/sqs_job.json")
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
            case "aws-env":
                _say(dev.shell_variables(root))
            case "deploy":
                from local import deployment  # noqa: PLC0415 - see above
                from local.aws import Credentials  # noqa: PLC0415
                from local.settings import Settings  # noqa: PLC0415

                endpoint = options.endpoint_url
                target = deployment.Target(
                    endpoint,
                    options.public_url or endpoint,
                    options.model_url,
                    Credentials.for_endpoint(endpoint),
                )
                deployment.run(root, options.build, target, Settings.load(root), _say)
            case "sam-api" | "sam-invoke":
                from local import sam_local  # noqa: PLC0415 - see above

                if options.command == "sam-api":
                    sam_local.start_api(root, options.port, _say)
                else:
                    sam_local.invoke(root, options.function, options.event, _say)
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
