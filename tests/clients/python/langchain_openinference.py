"""LangChain under OpenInference. Its root span is of kind CHAIN, not AGENT."""

from openinference.instrumentation.langchain import LangChainInstrumentor

import weather_agent
from telemetry import telemetry

with telemetry() as otel:
    LangChainInstrumentor().instrument(tracer_provider=otel.tracers)
    assert weather_agent.run() == "It is sunny in Lisbon."
