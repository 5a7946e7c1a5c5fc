"""The openai client under OpenTelemetry's own instrumentation: two tool calls, a streamed answer, a call that fails."""

from typing import Any

from openai import InternalServerError, OpenAI
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

import fake_models
from fake_models import ANSWER, QUESTION, TIDE_QUESTION
from telemetry import telemetry

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": PARAMETERS}}


with telemetry() as otel, fake_models.fake_models() as url:
    OpenAIInstrumentor().instrument(tracer_provider=otel.tracers, logger_provider=otel.loggers)
    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    tools = [tool("get_weather"), tool("get_tide")]
    messages: list[Any] = [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": TIDE_QUESTION},
    ]

    with otel.tracers.get_tracer("weather-desk", "1.0").start_as_current_span("answer"):
        asked = client.chat.completions.create(model="fake-1", messages=messages, tools=tools).choices[0].message
        messages.append(asked.model_dump(exclude_none=True))
        for call in asked.tool_calls or []:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": fake_models.get_weather("Lisbon")})
        stream = client.chat.completions.create(
            model="fake-1", messages=messages, tools=tools, stream=True, stream_options={"include_usage": True}
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == ANSWER

    try:
        client.responses.create(model="broken-1", input=QUESTION)
    except InternalServerError:
        pass
    else:
        raise AssertionError("the broken model answered")
