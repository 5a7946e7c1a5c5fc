"""The GenAI conventions by hand: an agent that plans, messages and evaluations as log records and as span events.

The first trace is as present conventions have it; the second is in the older words, `gen_ai.system` and indexed
`gen_ai.prompt` and `gen_ai.completion` attributes; one log record belongs to no trace.
"""

import json
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context

from telemetry import telemetry

CALL = {"type": "tool_call", "id": "call_1", "name": "find_order", "arguments": {"order": 1812}}


def messages(role: str, *parts: dict[str, Any]) -> str:
    return json.dumps([{"role": role, "parts": list(parts)}])


def text(content: str) -> dict[str, str]:
    return {"type": "text", "content": content}


with telemetry() as otel:
    tracer = otel.tracers.get_tracer("refund-desk", "2.0")
    logger = otel.loggers.get_logger("refund-desk", "2.0")

    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "refunds"}
    with tracer.start_as_current_span("invoke_agent refunds", attributes=agent) as root:
        root.set_attributes({"gen_ai.conversation.id": "chat-3", "gen_ai.provider.name": "example"})

        plan = {"gen_ai.operation.name": "plan", "gen_ai.agent.name": "refunds"}
        with tracer.start_as_current_span("plan refunds", attributes=plan) as span:
            span.set_attribute("gen_ai.output.messages", messages("assistant", text("Find the order, then answer.")))

        with tracer.start_as_current_span("chat fake-2") as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "example",
                    "gen_ai.request.model": "fake-2",
                    "gen_ai.response.model": "fake-2-2026-01-01",
                    "gen_ai.response.id": "resp-1",
                    "gen_ai.response.finish_reasons": ["tool_call"],
                    "gen_ai.usage.input_tokens": 120,
                    "gen_ai.usage.output_tokens": 30,
                    "gen_ai.usage.cache_read.input_tokens": 100,
                    "gen_ai.usage.reasoning.output_tokens": 12,
                }
            )
            details = {
                "gen_ai.operation.name": "chat",
                "gen_ai.input.messages": messages("user", text("Can order 1812 be refunded?")),
                "gen_ai.output.messages": messages("assistant", text("I look it up."), CALL),
            }
            logger.emit(event_name="gen_ai.client.inference.operation.details", attributes=details)
            logger.emit(
                event_name="gen_ai.evaluation.result",
                attributes={
                    "gen_ai.evaluation.name": "relevance",
                    "gen_ai.evaluation.score.value": 0.75,
                    "gen_ai.evaluation.score.label": "relevant",
                    "gen_ai.evaluation.explanation": "It looks for the order that was named.",
                    "gen_ai.response.id": "resp-1",
                },
            )
            span.add_event(
                "gen_ai.evaluation.result",
                {"gen_ai.evaluation.name": "safety", "gen_ai.evaluation.score.label": "fail"},
            )

        with tracer.start_as_current_span("execute_tool find_order") as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": "find_order",
                    "gen_ai.tool.call.id": "call_1",
                    "gen_ai.tool.call.arguments": json.dumps(CALL["arguments"]),
                    "error.type": "TimeoutError",
                }
            )
            span.record_exception(TimeoutError("the database did not answer"))
        logger.emit(
            severity_number=SeverityNumber.WARN,
            severity_text="WARN",
            body="The order could not be looked up.",
            attributes={"event.name": "refunds.lookup.failed", "order": 1812},
        )

    with tracer.start_as_current_span("openai.chat") as span:
        span.set_attributes(
            {
                "gen_ai.system": "OpenAI",
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "fake-2",
                "gen_ai.response.model": "fake-2-2026-01-01",
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": "Can order 1812 be refunded?",
                "gen_ai.completion.0.role": "assistant",
                "gen_ai.completion.0.finish_reason": "tool_calls",
                "gen_ai.completion.0.tool_calls.0.id": "call_1",
                "gen_ai.completion.0.tool_calls.0.name": "find_order",
                "gen_ai.completion.0.tool_calls.0.arguments": '{"order": 1812}',
                "gen_ai.usage.prompt_tokens": 120,
                "gen_ai.usage.completion_tokens": 30,
                "llm.usage.total_tokens": 150,
                "llm.request.type": "chat",
            }
        )

    logger.emit(body={"started": True, "workers": 4}, context=Context(), event_name="refunds.started")
