"""The OpenAI Agents SDK, for programs that instrument it: four runs of agents.

A tool call beside one that fails, in a workflow with a conversation; a streamed run with chat completions in place of
responses; a run that is cancelled while its answer arrives; and one whose model fails.
"""

from __future__ import annotations

import asyncio

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, trace
from openai import APIError, AsyncOpenAI

import fake_models
from fake_models import ANSWER, QUESTION, TIDE_QUESTION


async def runs(url: str) -> None:
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    responses, completions = OpenAIResponsesModel, OpenAIChatCompletionsModel

    def agent(name: str, api: type[OpenAIResponsesModel | OpenAIChatCompletionsModel], model: str) -> Agent:
        return Agent(
            name=name,
            instructions="Answer in one sentence.",
            model=api(model, client),
            tools=[function_tool(fake_models.get_weather), function_tool(fake_models.get_tide)],
        )

    with trace("Weather desk", group_id="chat-10", metadata={"desk": "weather"}):
        result = await Runner.run(agent("weather", responses, "fake-1"), TIDE_QUESTION)
    assert result.final_output == ANSWER

    streamed = Runner.run_streamed(agent("streamed", completions, "fake-1"), QUESTION)
    async for _ in streamed.stream_events():
        pass
    assert streamed.final_output == ANSWER

    cancelled = Runner.run_streamed(Agent(name="cancelled", model=responses("slow-1", client)), QUESTION)
    async for event in cancelled.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            cancelled.cancel()

    try:
        await Runner.run(agent("broken", responses, "broken-1"), QUESTION)
    except APIError:
        pass
    else:
        raise AssertionError("the broken model answered")


def run() -> None:
    with fake_models.fake_models() as url:
        asyncio.run(runs(url))
