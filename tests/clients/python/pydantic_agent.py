"""A pydantic-ai agent with TestModel, which calls every tool once and needs no model.

An argument chooses the version of the instrumentation's data format; without one, the package's own choice.
"""

import sys
import warnings

from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.test import TestModel

from telemetry import telemetry

with telemetry() as otel:
    warnings.simplefilter("ignore")  # older formats say that they are deprecated
    version = {"version": int(sys.argv[1])} if len(sys.argv) > 1 else {}
    settings = InstrumentationSettings(tracer_provider=otel.tracers, **version)
    agent = Agent(
        TestModel(custom_output_text="It is sunny in Lisbon."),
        name="weather",
        system_prompt="Answer in one sentence.",
        capabilities=[],
    )
    agent.instrument = settings

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Say what the weather is like in a city."""
        return f"Sunny in {city}, 24 degrees."

    result = agent.run_sync("What is the weather in Lisbon?", conversation_id="chat-2")
    assert result.output == "It is sunny in Lisbon."
