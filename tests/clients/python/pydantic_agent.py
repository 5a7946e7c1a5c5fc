"""A pydantic-ai agent with TestModel, which calls every tool once and needs no model.

An argument chooses the version of the instrumentation's data format; without one, the package's own choice. With
`twice` the agent runs two times within one span: the tool's calls then have the same id.
"""

import sys
import warnings

from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.test import TestModel

from telemetry import telemetry

with telemetry() as otel:
    warnings.simplefilter("ignore")  # older formats say that they are deprecated
    argument = sys.argv[1] if len(sys.argv) > 1 else None
    version = {"version": int(argument)} if argument and argument.isdigit() else {}
    agent = Agent(
        TestModel(custom_output_text="It is sunny in Lisbon."),
        name="weather",
        system_prompt="Answer in one sentence.",
    )
    agent.instrument = InstrumentationSettings(tracer_provider=otel.tracers, **version)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Say what the weather is like in a city."""
        return f"Sunny in {city}, 24 degrees."

    def ask() -> None:
        result = agent.run_sync("What is the weather in Lisbon?", conversation_id="chat-2")
        assert result.output == "It is sunny in Lisbon."

    if argument == "twice":
        with otel.tracers.get_tracer("weather-desk", "1.0").start_as_current_span("two questions"):
            ask()
            ask()
    else:
        ask()
