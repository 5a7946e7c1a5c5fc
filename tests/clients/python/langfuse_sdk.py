"""Langfuse's SDK with an exporter that sends to the OTLP endpoint; its own sends to other paths, of Langfuse's server.

An agent with a guardrail and a tool, whose calls are those of Langfuse's client of openai, the second of them
streamed; and a call that fails.
"""

from langfuse import Langfuse, propagate_attributes
from langfuse.openai import OpenAI
from openai import InternalServerError

import fake_models
from fake_models import ANSWER, QUESTION
from telemetry import OTLPSpanExporter, counted

tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}

with counted(), fake_models.fake_models() as url:
    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", span_exporter=OTLPSpanExporter())
    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    messages = [{"role": "user", "content": QUESTION}]

    with (
        langfuse.start_as_current_observation(name="weather", as_type="agent", input=QUESTION) as agent,
        propagate_attributes(session_id="chat-12", user_id="user-1", tags=["desk"]),
    ):
        with langfuse.start_as_current_observation(name="polite", as_type="guardrail", input=QUESTION) as polite:
            polite.update(output={"passed": True})
        first = client.chat.completions.create(model="fake-1", messages=messages, tools=[tool])
        call = first.choices[0].message.tool_calls[0]
        messages.append(first.choices[0].message.model_dump(exclude_none=True))
        arguments = call.function.arguments
        with langfuse.start_as_current_observation(name="get_weather", as_type="tool", input=arguments) as weather:
            result = fake_models.get_weather("Lisbon")
            weather.update(output=result)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = client.chat.completions.create(model="fake-1", messages=messages, tools=[tool], **options)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(pieces) == ANSWER
        agent.update(output=ANSWER)

    with langfuse.start_as_current_observation(name="broken", as_type="agent", input=QUESTION):
        try:
            client.chat.completions.create(model="broken-1", messages=messages)
        except InternalServerError:
            pass
        else:
            raise AssertionError("the broken model answered")
    langfuse.flush()
    langfuse.shutdown()
