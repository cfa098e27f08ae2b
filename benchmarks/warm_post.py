"""How much longer a warm POST takes than a call of a bare function behind the same gateway of the same emulator."""

import io
import zipfile
from collections.abc import Mapping
from contextlib import closing

from benchmarks import model_server, ours
from benchmarks.client import Caller
from benchmarks.ours import Jobchain
from benchmarks.report import Fragment
from benchmarks.sides import OURS, Terms
from benchmarks.spread import Spread
from jobchain.markdown import table

BARE = "bare function"

POSTS = 200
"""Requests to each of the two in a round, in turns."""
QUICK_POSTS = 5
WARM_UP = 10

_STAGE = "v1"
# It writes a line, as the api function does: the emulator waits up to 50 ms for the first line of a call's log.
_CODE = "def handle(event, context):\n    print('a line')\n    return {'statusCode': 201, 'body': '{}'}\n"


def warm_post(terms: Terms) -> dict[str, Fragment]:
    """The POST's time as a multiple of the bare function's, measured side by side."""
    medians: dict[str, list[float]] = {BARE: [], OURS: []}
    for turn in range(terms.rounds):
        with model_server.running() as model, ours.start(model.base_url, working=False) as side:
            urls = {BARE: deploy_bare(side), OURS: side.url}
            times = _in_turns(urls, QUICK_POSTS if terms.quick else POSTS)
        for name, seconds in times.items():
            medians[name].append(Spread.of(seconds).median * 1000)
        terms.say(f"warm POST, round {turn + 1}: {medians[OURS][-1] / medians[BARE][-1]:.3g} times the bare function")
    ratios = [posted / bare for posted, bare in zip(medians[OURS], medians[BARE], strict=True)]
    rows = [
        [BARE, str(Spread.of(medians[BARE])), "1"],
        ["POST /jobs", str(Spread.of(medians[OURS])), str(Spread.of(ratios))],
    ]
    body = f"""\
A caller sends `POST /jobs` and a POST to a bare function in turns, {POSTS} each, over one connection each. Both are
behind the gateway of the same emulator, and their processes are running. The bare function writes a line to its
log and answers 201. Beyond that, `POST /jobs` takes its checks, a put and a transaction of the table, and one message.
Each time is a round's median, and each ratio is of one round.

{table(["", "ms", "times the bare function"], rows)}"""
    return {"35-warm-post": Fragment("Warm POST beside a bare function", body, data={**medians, "ratio": ratios})}


def _in_turns(urls: Mapping[str, str], count: int) -> dict[str, list[float]]:
    with closing(Caller(urls[BARE])) as bare, closing(Caller(urls[OURS])) as jobchain:
        callers = {BARE: bare, OURS: jobchain}
        for caller in callers.values():
            for number in range(WARM_UP):
                caller.post(number)
        times: dict[str, list[float]] = {name: [] for name in callers}
        for number in range(count):
            for name, caller in callers.items():
                times[name].append(caller.post(number).seconds)
    return times


def deploy_bare(side: Jobchain) -> str:
    """A function that answers any request with 201, behind an API of its own; gives the API's URL."""
    functions, gateway = side.stack.client("lambda"), side.stack.client("apigateway")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("bare.py", _CODE)
    function = functions.create_function(
        FunctionName="bare",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/bare",
        Handler="bare.handle",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    api = gateway.create_rest_api(name="bare")["id"]
    (root,) = gateway.get_resources(restApiId=api)["items"]
    any_path = gateway.create_resource(restApiId=api, parentId=root["id"], pathPart="{proxy+}")["id"]
    method = {"restApiId": api, "resourceId": any_path, "httpMethod": "ANY"}
    gateway.put_method(**method, authorizationType="NONE")
    uri = f"arn:aws:apigateway:{side.stack.region}:lambda:path/2015-03-31/functions/{function}/invocations"
    gateway.put_integration(**method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.create_deployment(restApiId=api, stageName=_STAGE)
    return f"{side.stack.endpoint_url}/_aws/execute-api/{api}/{_STAGE}"
