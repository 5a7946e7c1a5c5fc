"""Judgements as OpenInference writes them: DECISION, GUARDRAIL and EVALUATOR spans, annotations and evaluations."""

from openinference.instrumentation import (
    Annotation,
    OITracer,
    TraceConfig,
    get_annotation_attributes,
    get_decision_attributes,
    get_evaluation_attributes,
)

from telemetry import telemetry

QUESTION = "Can order 1812 be refunded?"
ANSWER = "Yes: it was bought 12 days ago, and the policy allows 30."

with telemetry() as otel:
    tracer = OITracer(otel.tracers.get_tracer("refund-desk", "2.0"), config=TraceConfig())

    with tracer.start_as_current_span("refund", openinference_span_kind="agent") as root:
        root.set_input(QUESTION)

        with tracer.start_as_current_span("route", openinference_span_kind="decision") as span:
            span.set_attributes(
                get_decision_attributes(
                    provider="typesafe",
                    system="typesafe",
                    request_model_name="jev-latest",
                    response_model_name="jev-1.13.0",
                    token_count={"input": 412, "output": 2},
                )
            )
            options = ["refund", "refuse", "escalate"]
            asked = {"type": "choice", "question": "What is to be done?", "options": options}
            span.set_input({"model": "jev-latest", "state": QUESTION, "questions": {"route": asked}})
            odds = {"refund": 0.82, "refuse": 0.05, "escalate": 0.13}
            answers = {"route": {"answer": "refund", "probabilities": odds}}
            span.set_output({"model": "jev-1.13.0", "answers": answers})

        with tracer.start_as_current_span("no-personal-data", openinference_span_kind="guardrail") as span:
            span.set_input(ANSWER)
            span.set_output({"passed": True})
            passed = Annotation(name="personal data", label="pass", score=1.0, annotator_kind="CODE")
            span.set_attributes(get_annotation_attributes(annotations=[passed]))

        with tracer.start_as_current_span("judge", openinference_span_kind="evaluator") as span:
            span.set_input({"question": QUESTION, "answer": ANSWER})
            span.set_output({"label": "unfaithful"})
            judged = [
                Annotation(
                    name="faithfulness",
                    label="unfaithful",
                    score=0.25,
                    explanation="The order's date stands nowhere in the documents.",
                    annotator_kind="LLM",
                    identifier="judge-v2",
                    metadata={"rubric": 2},
                ),
                Annotation(name="politeness", score=0.9, annotator_kind="LLM"),
            ]
            span.set_attributes(get_annotation_attributes(annotations=judged))

        correct = Annotation(name="correctness", score=0.5, explanation="Half of it can be checked.")
        root.set_attributes(get_evaluation_attributes(evaluations=[correct], scope="trace"))
        root.set_output(ANSWER)
