"""The OpenAI Agents SDK under OpenInference."""

from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

import openai_agents_runs
from telemetry import telemetry

with telemetry() as otel:
    OpenAIAgentsInstrumentor().instrument(tracer_provider=otel.tracers, exclusive_processor=True)
    openai_agents_runs.run()
