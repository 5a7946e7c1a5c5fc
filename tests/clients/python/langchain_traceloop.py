"""The same LangChain agent under Traceloop's instrumentation."""

from opentelemetry.instrumentation.langchain import LangchainInstrumentor

import weather_agent
from telemetry import telemetry

with telemetry() as otel:
    LangchainInstrumentor().instrument(tracer_provider=otel.tracers)
    assert weather_agent.run() == "It is sunny in Lisbon."
