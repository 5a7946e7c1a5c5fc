"""A Strands agent: a tool call beside one that fails, then an answer; and an agent whose model fails.

With OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental it writes the present conventions.
"""

from openai import APIError
from strands import Agent, tool
from strands.models.openai import OpenAIModel

import fake_models
from fake_models import ANSWER, TIDE_QUESTION
from telemetry import telemetry

with telemetry(), fake_models.fake_models() as url:
    arguments = {"base_url": url, "api_key": "none", "max_retries": 0}

    def agent(name: str, model: str) -> Agent:
        return Agent(
            model=OpenAIModel(client_args=arguments, model_id=model),
            tools=[tool(fake_models.get_weather), tool(fake_models.get_tide)],
            name=name,
            system_prompt="Answer in one sentence.",
            trace_attributes={"session.id": "chat-9", "user.id": "user-1"},
            callback_handler=None,
        )

    assert str(agent("weather", "fake-1")(TIDE_QUESTION)).strip() == ANSWER
    try:
        agent("broken", "broken-1")(TIDE_QUESTION)
    except APIError:
        pass
    else:
        raise AssertionError("the broken model answered")
