//! The words for kinds of work.

use crate::event::StepKind;

/// The special purpose of a span's work, beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::otel) enum Work {
    /// No purpose beyond the kind.
    Plain,
    /// The run of an agent or a workflow. Its input and output are also those of the session, if the root has
    /// none.
    Run,
    /// A decision model's choice.
    Decision,
    /// A check that lets pass or stops.
    Guardrail,
    /// A judgement of other work.
    Evaluation,
    /// A plan of what to do.
    Plan,
}

impl Work {
    /// The rows that the work gives beside its step.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, which a test holds against it"))]
    pub(in crate::otel) const fn gives(self) -> &'static str {
        match self {
            Work::Plain => "",
            Work::Run => "input and output of the session",
            Work::Decision | Work::Plan | Work::Guardrail => "a decision",
            Work::Evaluation => "findings",
        }
    }
}

/// A word for a kind of work.
pub(in crate::otel) struct Word {
    pub(in crate::otel) word: &'static str,
    pub(in crate::otel) kind: StepKind,
    pub(in crate::otel) work: Work,
}

const fn word(word: &'static str, kind: StepKind, work: Work) -> Word {
    Word { word, kind, work }
}

/// Attributes that name the kind of a span's work, best first, with their words. The case of a word does not
/// matter.
pub(in crate::otel) static KINDS: &[(&str, &[Word])] = &[
    // Before the operation: LangSmith calls a retriever's operation `embeddings`.
    (
        "langsmith.span.kind",
        &[
            word("llm", StepKind::Llm, Work::Plain),
            word("tool", StepKind::Tool, Work::Plain),
            word("retriever", StepKind::Retrieval, Work::Plain),
            word("chain", StepKind::Chain, Work::Plain),
            word("embedding", StepKind::Embedding, Work::Plain),
            word("prompt", StepKind::Other, Work::Plain),
        ],
    ),
    (
        "gen_ai.operation.name",
        &[
            word("chat", StepKind::Llm, Work::Plain),
            word("text_completion", StepKind::Llm, Work::Plain),
            word("generate_content", StepKind::Llm, Work::Plain),
            word("embeddings", StepKind::Embedding, Work::Plain),
            word("retrieval", StepKind::Retrieval, Work::Plain),
            word("search_memory", StepKind::Retrieval, Work::Plain),
            word("execute_tool", StepKind::Tool, Work::Plain),
            word("invoke_agent", StepKind::Agent, Work::Run),
            word("create_agent", StepKind::Other, Work::Plain),
            word("invoke_workflow", StepKind::Chain, Work::Run),
            word("execute_task", StepKind::Chain, Work::Plain),
            word("plan", StepKind::Chain, Work::Plan),
            word("rerank", StepKind::Retrieval, Work::Plain),
            word("agent_step", StepKind::Chain, Work::Plain),
            word("llm_call", StepKind::Llm, Work::Plain),
            word("tool_call", StepKind::Tool, Work::Plain),
            word("schedule_tool_calls", StepKind::Chain, Work::Plain),
            word("agent_call", StepKind::Agent, Work::Run),
            word("user_prompt", StepKind::Chain, Work::Run),
        ],
    ),
    (
        "openinference.span.kind",
        &[
            word("LLM", StepKind::Llm, Work::Plain),
            word("TOOL", StepKind::Tool, Work::Plain),
            word("RETRIEVER", StepKind::Retrieval, Work::Plain),
            word("RERANKER", StepKind::Retrieval, Work::Plain),
            word("AGENT", StepKind::Agent, Work::Run),
            word("CHAIN", StepKind::Chain, Work::Plain),
            word("GUARDRAIL", StepKind::Guardrail, Work::Guardrail),
            word("EVALUATOR", StepKind::Other, Work::Evaluation),
            word("DECISION", StepKind::Other, Work::Decision),
            word("EMBEDDING", StepKind::Embedding, Work::Plain),
            word("PROMPT", StepKind::Other, Work::Plain),
        ],
    ),
    (
        "traceloop.span.kind",
        &[
            word("workflow", StepKind::Chain, Work::Run),
            word("agent", StepKind::Agent, Work::Run),
            word("task", StepKind::Chain, Work::Plain),
            word("tool", StepKind::Tool, Work::Plain),
        ],
    ),
    (
        "llm.request.type",
        &[
            word("chat", StepKind::Llm, Work::Plain),
            word("completion", StepKind::Llm, Work::Plain),
            word("rerank", StepKind::Retrieval, Work::Plain),
            word("embedding", StepKind::Embedding, Work::Plain),
        ],
    ),
    (
        "ai.operationId",
        &[
            word("ai.generateText", StepKind::Chain, Work::Run),
            word("ai.streamText", StepKind::Chain, Work::Run),
            word("ai.generateObject", StepKind::Chain, Work::Run),
            word("ai.streamObject", StepKind::Chain, Work::Run),
            word("ai.generateText.doGenerate", StepKind::Llm, Work::Plain),
            word("ai.streamText.doStream", StepKind::Llm, Work::Plain),
            word("ai.generateObject.doGenerate", StepKind::Llm, Work::Plain),
            word("ai.streamObject.doStream", StepKind::Llm, Work::Plain),
            word("ai.toolCall", StepKind::Tool, Work::Plain),
            word("ai.embed", StepKind::Embedding, Work::Plain),
            word("ai.embedMany", StepKind::Embedding, Work::Plain),
        ],
    ),
    (
        "langfuse.observation.type",
        &[
            word("generation", StepKind::Llm, Work::Plain),
            word("tool", StepKind::Tool, Work::Plain),
            word("retriever", StepKind::Retrieval, Work::Plain),
            word("agent", StepKind::Agent, Work::Run),
            word("chain", StepKind::Chain, Work::Plain),
            word("guardrail", StepKind::Guardrail, Work::Guardrail),
            word("evaluator", StepKind::Other, Work::Evaluation),
            word("embedding", StepKind::Embedding, Work::Plain),
        ],
    ),
    (
        "mlflow.spanType",
        &[
            word("CHAT_MODEL", StepKind::Llm, Work::Plain),
            word("LLM", StepKind::Llm, Work::Plain),
            word("TOOL", StepKind::Tool, Work::Plain),
            word("RETRIEVER", StepKind::Retrieval, Work::Plain),
            word("RERANKER", StepKind::Retrieval, Work::Plain),
            word("AGENT", StepKind::Agent, Work::Run),
            word("WORKFLOW", StepKind::Chain, Work::Run),
            word("CHAIN", StepKind::Chain, Work::Plain),
            word("GUARDRAIL", StepKind::Guardrail, Work::Guardrail),
            word("EVALUATOR", StepKind::Other, Work::Evaluation),
            word("EMBEDDING", StepKind::Embedding, Work::Plain),
        ],
    ),
    (
        "logfire.msg_template",
        &[
            word("Agent run: {name!r}", StepKind::Agent, Work::Run),
            word("Function: {name}", StepKind::Tool, Work::Plain),
            word("Guardrail {name!r} {triggered=}", StepKind::Guardrail, Work::Guardrail),
            word("Responses API with {gen_ai.request.model!r}", StepKind::Llm, Work::Plain),
            word("Chat completion with {gen_ai.request.model!r}", StepKind::Llm, Work::Plain),
        ],
    ),
];

/// The kind of work that a word of one of [`KINDS`] stands for.
pub(in crate::otel) fn kind(attribute: &str, said: &str) -> Option<&'static Word> {
    let (_, words) = KINDS.iter().find(|(name, _)| *name == attribute)?;
    // MLflow sends each value as JSON, so a word has quotes.
    let said = said.trim_matches('"');
    words.iter().find(|word| word.word.eq_ignore_ascii_case(said))
}
