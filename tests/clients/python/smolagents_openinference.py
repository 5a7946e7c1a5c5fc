"""smolagents under OpenInference: a tool call before the answer, whole and streamed; and a model that fails."""

from openinference.instrumentation.smolagents import SmolagentsInstrumentor
from rich.console import Console
from smolagents import AgentLogger, OpenAIServerModel, ToolCallingAgent, tool
from smolagents.utils import AgentError

import fake_models
from fake_models import ANSWER, QUESTION
from telemetry import telemetry

get_weather = tool(fake_models.get_weather)

with telemetry() as otel, fake_models.fake_models() as url:
    SmolagentsInstrumentor().instrument(tracer_provider=otel.tracers)

    def agent(model: str, **arguments: bool) -> ToolCallingAgent:
        model = OpenAIServerModel(model, api_base=url, api_key="none", client_kwargs={"max_retries": 0}, retry=False)
        logger = AgentLogger(console=Console(stderr=True, quiet=True))
        return ToolCallingAgent([get_weather], model, name="weather", max_steps=2, logger=logger, **arguments)

    assert agent("fake-1").run(QUESTION) == ANSWER
    assert agent("fake-1", stream_outputs=True).run(QUESTION) == ANSWER
    try:
        agent("broken-1").run(QUESTION)
    except AgentError:
        pass
    else:
        raise AssertionError("the broken model answered")
