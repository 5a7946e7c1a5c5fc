"""Microsoft's Agent Framework: two tools at once, one of which fails; a streamed answer; a failing model."""

import asyncio
import logging

from agent_framework import Agent
from agent_framework.observability import enable_instrumentation
from agent_framework.openai import OpenAIChatCompletionClient
from openai import AsyncOpenAI

import fake_models
from fake_models import ANSWER, QUESTION, TIDE_QUESTION
from telemetry import telemetry


async def runs(url: str) -> None:
    def agent(name: str, model: str) -> Agent:
        client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        return Agent(
            OpenAIChatCompletionClient(model=model, async_client=client),
            "Answer in one sentence.",
            name=name,
            tools=[fake_models.get_weather, fake_models.get_tide],
        )

    assert (await agent("weather", "fake-1").run(TIDE_QUESTION)).text == ANSWER
    streamed = [update.text async for update in agent("streamed", "fake-1").run(QUESTION, stream=True)]
    assert "".join(streamed) == ANSWER
    try:
        await agent("broken", "broken-1").run(QUESTION)
    except Exception:
        pass
    else:
        raise AssertionError("the broken model answered")


logging.disable()  # the tool and the model that fail are meant to
with telemetry(), fake_models.fake_models() as url:
    enable_instrumentation(enable_sensitive_data=True)
    asyncio.run(runs(url))
