"""A fake of Bedrock: the fake model behind its paths, which answers no request without a right signature."""

import io
import json
from collections.abc import Mapping
from urllib.parse import unquote

from tests.fake_model.replies import Reply, json_reply
from tests.fake_model.server import ModelHandler, ModelServer
from tests.fake_model.signatures import Signatures, aws_refusal

REGION = "us-east-1"
PROFILE = "us.openai.gpt-6-luna"
FOUNDATION = "openai.gpt-6-luna"


class BedrockServer(ModelServer):
    """Serves `/openai/v1/responses`, and of the control plane the model's inference profile and the model.

    `profiles` are the models by the profiles that lead to them, `ends` the ends of life of models. `unsigned` has the
    refusals that it gave for a signature.
    """

    def __init__(self, signatures: Signatures, *, ends: Mapping[str, str] | None = None) -> None:
        super().__init__(handler=_BedrockHandler)
        self.signatures = signatures
        self.profiles = {PROFILE: FOUNDATION}
        self.ends = ends or {}
        self.inference_types = ["ON_DEMAND"]
        self.unsigned: list[Reply] = []
        self.paths: list[str] = []

    @property
    def base_url(self) -> str:
        return super().base_url.replace("/v1", "/openai/v1")

    def about(self, path: str) -> Reply:
        """What the control plane says, at a path without escapes."""
        match path.strip("/").split("/"):
            case ["inference-profiles", name] if name in self.profiles:
                arn = f"arn:aws:bedrock:{REGION}::foundation-model/{self.profiles[name]}"
                models = [{"modelArn": arn}]
                return json_reply("profile", {"inferenceProfileId": name, "status": "ACTIVE", "models": models})
            case ["inference-profiles"]:
                found = [{"inferenceProfileId": name} for name in self.profiles]
                return json_reply("profiles", {"inferenceProfileSummaries": found})
            case ["foundation-models"]:
                return json_reply("models", {"modelSummaries": [{"modelId": FOUNDATION}]})
            case ["foundation-models", name] if name in self.profiles.values():
                lifecycle = {"status": "ACTIVE", **({"endOfLifeTime": self.ends[name]} if name in self.ends else {})}
                types = {"inferenceTypesSupported": self.inference_types}
                return json_reply("model", {"modelDetails": {"modelId": name, "modelLifecycle": lifecycle, **types}})
            case ["foundation-model-availability", name] if name in self.profiles.values():
                return json_reply("availability", {**AVAILABLE, "modelId": name})
        return aws_refusal(404, "ResourceNotFoundException", "Could not find the resource.")


AVAILABLE = {
    "agreementAvailability": {"status": "AVAILABLE"},
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}


class _BedrockHandler(ModelHandler):
    @property
    def bedrock(self) -> BedrockServer:
        assert isinstance(self.server.model, BedrockServer)
        return self.server.model

    def do_GET(self) -> None:  # noqa: N802  # named by http.server
        if self._is_signed(b""):
            self._reply(self.bedrock.about(unquote(self.path.partition("?")[0])))

    def do_POST(self) -> None:  # noqa: N802  # named by http.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._is_signed(body):
            return
        if not self.path.startswith("/openai/v1/"):
            self._reply(aws_refusal(404, "UnknownOperationException", f"no operation {json.dumps(self.path)}"))
            return
        connection, self.rfile, self.path = self.rfile, io.BytesIO(body), self.path.removeprefix("/openai")
        try:
            super().do_POST()
        finally:
            self.rfile = connection

    def _is_signed(self, body: bytes) -> bool:
        self.bedrock.paths.append(self.path)
        url = f"http://{self.headers['Host']}{self.path}"
        refusal = self.bedrock.signatures.refusal(self.command, url, dict(self.headers.items()), body)
        if refusal is not None:
            self.bedrock.unsigned.append(refusal)
            self._reply(refusal)
        return refusal is None
