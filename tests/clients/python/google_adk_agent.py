"""A Google ADK agent with a scripted model: two tools at once, one of which fails; a streamed answer; a failure.

With `litellm` the model is a completions server behind LiteLLM.
"""

import asyncio
import logging
import sys
import warnings
from collections.abc import AsyncGenerator

from google.adk.agents import LlmAgent, RunConfig
from google.adk.agents.run_config import StreamingMode
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai import types

import fake_models
from fake_models import ANSWER, TIDE_QUESTION, WORDS
from telemetry import telemetry


def usage(prompt: int, answer: int) -> types.GenerateContentResponseUsageMetadata:
    return types.GenerateContentResponseUsageMetadata(
        prompt_token_count=prompt,
        candidates_token_count=answer,
        total_token_count=prompt + answer,
        cached_content_token_count=10,
    )


class ScriptedModel(BaseLlm):
    """A fake model."""

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        if self.model == "broken-1":
            raise RuntimeError("The model is on fire.")
        version = f"{self.model}-2026-01-01"
        last = llm_request.contents[-1].parts or []
        if not any(part.function_response for part in last):
            parts = [
                types.Part(function_call=types.FunctionCall(id=f"call_{n}", name=name, args={"city": "Lisbon"}))
                for n, name in enumerate(["get_weather", "get_tide"], 1)
            ]
            content = types.Content(role="model", parts=parts)
            yield LlmResponse(
                content=content,
                usage_metadata=usage(25, 7),
                model_version=version,
                finish_reason=types.FinishReason.STOP,
            )
            return
        for word in WORDS if stream else []:
            yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text=word)]), partial=True)
        content = types.Content(role="model", parts=[types.Part(text=ANSWER)])
        yield LlmResponse(
            content=content,
            usage_metadata=usage(40, 9),
            model_version=version,
            finish_reason=types.FinishReason.STOP,
        )


def get_weather(city: str) -> dict[str, str]:
    """Say what the weather is like in a city."""
    return {"weather": fake_models.get_weather(city)}


def get_tide(city: str) -> dict[str, str]:
    """Say how high the water is in a city."""
    return {"error": f"no tide table of {city}"}


async def ask(name: str, model: BaseLlm, mode: StreamingMode) -> str:
    agent = LlmAgent(name=name, model=model, instruction="Answer in one sentence.", tools=[get_weather, get_tide])
    sessions = InMemorySessionService()
    await sessions.create_session(app_name="desk", user_id="user-1", session_id=f"chat-{name}")
    runner = Runner(agent=agent, app_name="desk", session_service=sessions)
    message = types.Content(role="user", parts=[types.Part(text=TIDE_QUESTION)])
    answer = ""
    async for event in runner.run_async(
        user_id="user-1",
        session_id=f"chat-{name}",
        new_message=message,
        run_config=RunConfig(streaming_mode=mode),
    ):
        if event.is_final_response() and not event.partial and event.content and event.content.parts:
            answer = event.content.parts[0].text or ""
    return answer


async def scripted() -> None:
    assert await ask("weather", ScriptedModel(model="fake-1"), StreamingMode.NONE) == ANSWER
    assert await ask("streamed", ScriptedModel(model="fake-1"), StreamingMode.SSE) == ANSWER
    try:
        await ask("broken", ScriptedModel(model="broken-1"), StreamingMode.NONE)
    except RuntimeError:
        pass
    else:
        raise AssertionError("the broken model answered")


async def litellm() -> None:
    with fake_models.fake_models() as url:
        model = LiteLlm(model="openai/fake-1", api_base=url, api_key="none")
        assert await ask("weather", model, StreamingMode.NONE) == ANSWER


warnings.simplefilter("ignore")
logging.disable()  # the model that fails is meant to
with telemetry():
    asyncio.run(litellm() if sys.argv[1:] == ["litellm"] else scripted())
