"""The OpenAI Agents SDK and its client under OpenTelemetry's own instrumentations, each of which sees a part of a run.

The SDK's exporter to its own cloud is off.
"""

import agents
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.genai.openai_agents import OpenAIAgentsInstrumentor

import openai_agents_runs
from telemetry import telemetry

with telemetry() as otel:
    agents.set_trace_processors([])
    OpenAIInstrumentor().instrument(tracer_provider=otel.tracers, logger_provider=otel.loggers)
    OpenAIAgentsInstrumentor().instrument(tracer_provider=otel.tracers, logger_provider=otel.loggers)
    openai_agents_runs.run()
