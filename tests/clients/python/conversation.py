"""Conversations of two traces each: one whose root spans alone carry `session.id`, one with `gen_ai.conversation.id`.

The first is exported span by span as they end, so that children arrive before their roots, in requests of their own,
if OTEL_BSP_MAX_EXPORT_BATCH_SIZE is 1.
"""

from telemetry import telemetry

TURNS = [("Can order 1812 be refunded?", "Yes."), ("And order 1813?", "No.")]

with telemetry() as otel:
    tracer = otel.tracers.get_tracer("refund-desk", "2.0")

    for question, answer in TURNS:
        with tracer.start_as_current_span("turn") as root:
            root.set_attributes({"openinference.span.kind": "CHAIN", "session.id": "chat-4", "input.value": question})
            with tracer.start_as_current_span("answer") as span:
                span.set_attributes(
                    {
                        "openinference.span.kind": "LLM",
                        "llm.model_name": "fake-3",
                        "llm.token_count.prompt": 20,
                        "llm.token_count.completion": 3,
                        "input.value": question,
                        "output.value": answer,
                    }
                )
            root.set_attribute("output.value", answer)

    for _ in TURNS:
        with tracer.start_as_current_span("invoke_workflow refunds") as root:
            root.set_attributes({"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "refunds"})
            with tracer.start_as_current_span("chat fake-3") as span:
                span.set_attributes(
                    {
                        "gen_ai.operation.name": "chat",
                        "gen_ai.conversation.id": "chat-5",
                        "gen_ai.request.model": "fake-3",
                        "gen_ai.usage.input_tokens": 20,
                        "gen_ai.usage.output_tokens": 3,
                    }
                )
