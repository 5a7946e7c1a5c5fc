"""A LangChain agent that needs no model: what it answers is written down here."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool


@tool
def get_weather(city: str) -> str:
    """Say what the weather is like in a city."""
    return f"Sunny in {city}, 24 degrees."


class ScriptedModel(GenericFakeChatModel):
    """A fake model that can be handed tools, as create_agent does."""

    model_name: str

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True  # as real models are; instrumentations read the model's name from there

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def run() -> str:
    """Ask the agent one question: one tool call, then an answer."""
    answers = [
        AIMessage(
            content="",
            tool_calls=[{"name": "get_weather", "args": {"city": "Lisbon"}, "id": "call_1"}],
            usage_metadata={"input_tokens": 25, "output_tokens": 7, "total_tokens": 32},
            response_metadata={"model_name": "scripted-1", "finish_reason": "tool_calls"},
        ),
        AIMessage(
            content="It is sunny in Lisbon.",
            usage_metadata={"input_tokens": 40, "output_tokens": 9, "total_tokens": 49},
            response_metadata={"model_name": "scripted-1", "finish_reason": "stop"},
        ),
    ]
    agent = create_agent(
        ScriptedModel(model_name="scripted-1", messages=iter(answers)),
        tools=[get_weather],
        system_prompt="Answer in one sentence.",
        name="weather",
    )
    result = agent.invoke({"messages": [{"role": "user", "content": "What is the weather in Lisbon?"}]})
    return result["messages"][-1].content
