"""The openai client under OpenInference: a tool call, the answer that follows, and a call that fails.

The first two calls are one trace, under a span of kind AGENT; the failing one is a trace of its own.
"""

import json
from typing import Any

from openai import InternalServerError, OpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor
from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes

from fake_openai import TOOL, fake_openai
from telemetry import telemetry

with telemetry() as otel, fake_openai() as url:
    OpenAIInstrumentor().instrument(tracer_provider=otel.tracers)
    tracer = otel.tracers.get_tracer("weather-desk", "1.0")
    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    question = "What is the weather in Lisbon?"
    messages: list[Any] = [{"role": "user", "content": question}]

    with (
        using_attributes(session_id="chat-1", user_id="user-1", metadata={"desk": "weather"}),
        tracer.start_as_current_span("answer") as root,
    ):
        root.set_attribute(SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.AGENT.value)
        root.set_attribute(SpanAttributes.INPUT_VALUE, question)
        first = client.chat.completions.create(model="fake-1", messages=messages, tools=[TOOL])
        message = first.choices[0].message
        call = message.tool_calls[0]
        messages.append(message.model_dump(exclude_none=True))
        with tracer.start_as_current_span(call.function.name) as span:
            result = f"Sunny in {json.loads(call.function.arguments)['city']}, 24 degrees."
            span.set_attribute(SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.TOOL.value)
            span.set_attribute(SpanAttributes.TOOL_NAME, call.function.name)
            span.set_attribute(SpanAttributes.INPUT_VALUE, call.function.arguments)
            span.set_attribute(SpanAttributes.OUTPUT_VALUE, result)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        second = client.chat.completions.create(model="fake-1", messages=messages, tools=[TOOL])
        answer = second.choices[0].message.content
        root.set_attribute(SpanAttributes.OUTPUT_VALUE, answer)
        assert answer == "It is sunny in Lisbon."

    try:
        client.chat.completions.create(model="broken-1", messages=[{"role": "user", "content": question}])
    except InternalServerError:
        pass
    else:
        raise AssertionError("the broken model answered")
