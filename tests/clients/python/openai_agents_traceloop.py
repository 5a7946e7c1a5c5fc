"""The OpenAI Agents SDK under Traceloop's instrumentation. The SDK's own exporter to its own cloud is off."""

import agents
from opentelemetry.instrumentation.openai_agents import OpenAIAgentsInstrumentor

import openai_agents_runs
from telemetry import telemetry

with telemetry() as otel:
    agents.set_trace_processors([])
    OpenAIAgentsInstrumentor().instrument(tracer_provider=otel.tracers)
    openai_agents_runs.run()
