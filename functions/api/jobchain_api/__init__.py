"""The api function: creates jobs and shows them to their callers."""

from jobchain.deferred import defer

_EVENTS = "aws_lambda_powertools.utilities.data_classes"
_HANDLERS = "aws_lambda_powertools.event_handler"

# Before any module of this package imports them. They import what all kinds of functions need, asyncio included.
defer(
    {
        "aws_lambda_powertools": {"Logger": "aws_lambda_powertools.logging"},
        _HANDLERS: {
            "APIGatewayRestResolver": f"{_HANDLERS}.api_gateway",
            "ApiGatewayResolver": f"{_HANDLERS}.api_gateway",
            "Response": f"{_HANDLERS}.api_gateway",
        },
        _EVENTS: {
            "ALBEvent": f"{_EVENTS}.alb_event",
            "APIGatewayProxyEvent": f"{_EVENTS}.api_gateway_proxy_event",
            "APIGatewayProxyEventV2": f"{_EVENTS}.api_gateway_proxy_event",
            "BedrockAgentEvent": f"{_EVENTS}.bedrock_agent_event",
            "LambdaFunctionUrlEvent": f"{_EVENTS}.lambda_function_url_event",
            "VPCLatticeEvent": f"{_EVENTS}.vpc_lattice",
            "VPCLatticeEventV2": f"{_EVENTS}.vpc_lattice",
        },
        # Looked at for plugins alone, which `jobchain.startup` turns off.
        "importlib.metadata": {},
    }
)
