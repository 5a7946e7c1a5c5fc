"""The OpenAI Agents SDK under Logfire, which sends nothing to its own cloud and everything to the OTLP endpoint."""

import agents
import logfire

import openai_agents_runs
from telemetry import counted

with counted():
    agents.set_trace_processors([])
    logfire.configure(send_to_logfire=False, console=False)
    logfire.instrument_openai_agents()
    openai_agents_runs.run()
    logfire.shutdown()
