//! The attribute names of spans and log records that Annals has columns for: one table for all conventions.
//! `docs/opentelemetry.md` has the same tables, and a test compares the two.
//!
//! Conventions: OpenTelemetry's for generative AI, the present ones
//! (<https://github.com/open-telemetry/semantic-conventions-genai>) and the former ones
//! (<https://github.com/open-telemetry/semantic-conventions/tree/v1.36.0/docs/gen-ai>); OpenInference
//! (<https://github.com/Arize-ai/openinference/tree/main/spec>); Traceloop's OpenLLMetry
//! (<https://github.com/traceloop/openllmetry>); and the additions of frameworks.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::event::{Outcome, StepKind};

/// The purpose of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Tool,
    Agent,
    AgentVersion,
    Entity,
    Workflow,
    Model,
    System,
    InputMessages,
    OutputMessages,
    Transcript,
    Input,
    Output,
    TokensInput,
    TokensOutput,
    Cost,
    ErrorType,
    ErrorMessage,
    ToolDefinitions,
    Conversation,
    Tenant,
    User,
    Environment,
    Service,
    ServiceVersion,
}

/// Attributes with the same meaning.
pub(super) struct Row {
    pub(super) field: Field,
    /// Columns that the value goes to.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the documentation, which a test holds against it")
    )]
    pub(super) goes_to: &'static str,
    /// Names of the attributes, best first: of several that are present, the first counts.
    pub(super) names: &'static [&'static str],
}

/// Attributes, by their meaning.
pub(super) static ATTRIBUTES: &[Row] = &[
    Row {
        field: Field::Tool,
        goes_to: "step `module`, where the kind is tool",
        names: &["gen_ai.tool.name", "tool.name", "tool_name"],
    },
    Row {
        field: Field::Agent,
        goes_to: "step `module`, where the kind is agent; session `agent`",
        names: &["gen_ai.agent.name", "agent.name", "agent_name"],
    },
    Row {
        field: Field::Entity,
        goes_to: "step `module`, where neither says it",
        names: &["traceloop.entity.name"],
    },
    Row {
        field: Field::Workflow,
        goes_to: "session `agent`, where no agent is named",
        names: &["gen_ai.workflow.name", "traceloop.workflow.name"],
    },
    Row {
        field: Field::AgentVersion,
        goes_to: "session `agent_version`",
        names: &["gen_ai.agent.version", "traceloop.entity.version"],
    },
    Row {
        field: Field::Model,
        goes_to: "step `model`, session `model`",
        names: &[
            "gen_ai.response.model",
            "llm.response.model_name",
            "llm.model_name",
            "decision.response.model_name",
            "decision.model_name",
            "embedding.model_name",
            "reranker.model_name",
            "gen_ai.request.model",
            "llm.request.model_name",
            "decision.request.model_name",
            "llm.response.model",
            "llm.request.model",
            "model_name",
        ],
    },
    Row {
        field: Field::System,
        goes_to: "step `input`, before the messages",
        names: &["gen_ai.system_instructions"],
    },
    Row { field: Field::InputMessages, goes_to: "step `input`", names: &["gen_ai.input.messages"] },
    Row {
        field: Field::OutputMessages,
        goes_to: "step `output`, decisions",
        names: &["gen_ai.output.messages"],
    },
    Row {
        field: Field::Transcript,
        goes_to: "step `input`: what stands before the first answer",
        names: &["pydantic_ai.all_messages", "all_messages_events"],
    },
    Row {
        field: Field::Input,
        goes_to: "step `input`",
        names: &[
            "gen_ai.tool.call.arguments",
            "tool_arguments",
            "input.value",
            "traceloop.entity.input",
            "gen_ai.task.input",
            "gen_ai.retrieval.query.text",
            "gen_ai.prompt",
            "tool.parameters",
            "mcp.request.argument",
        ],
    },
    Row {
        field: Field::Output,
        goes_to: "step `output`",
        names: &[
            "gen_ai.tool.call.result",
            "tool_response",
            "output.value",
            "final_result",
            "traceloop.entity.output",
            "gen_ai.task.output",
            "gen_ai.retrieval.documents",
            "gen_ai.completion",
            "mcp.response.value",
        ],
    },
    Row {
        field: Field::TokensInput,
        goes_to: "step `tokens_input`",
        names: &[
            "gen_ai.usage.input_tokens",
            "llm.token_count.prompt",
            "decision.token_count.input",
            "gen_ai.usage.prompt_tokens",
            "llm.usage.prompt_tokens",
        ],
    },
    Row {
        field: Field::TokensOutput,
        goes_to: "step `tokens_output`",
        names: &[
            "gen_ai.usage.output_tokens",
            "llm.token_count.completion",
            "decision.token_count.output",
            "gen_ai.usage.completion_tokens",
            "llm.usage.completion_tokens",
        ],
    },
    Row {
        field: Field::Cost,
        goes_to: "step `cost_usd`",
        names: &["llm.cost.total", "gen_ai.usage.cost", "operation.cost"],
    },
    Row {
        field: Field::ErrorType,
        goes_to: "step `status` error; a finding's `pattern_type`",
        names: &["error.type"],
    },
    Row {
        field: Field::ErrorMessage,
        goes_to: "step `error`, where the status has no message",
        names: &["error.message", "exception.message"],
    },
    Row {
        field: Field::ToolDefinitions,
        goes_to: "a decision's `options_considered`",
        names: &["gen_ai.tool.definitions", "gen_ai.request.tools", "llm.request.tools"],
    },
    Row {
        field: Field::Conversation,
        goes_to: "session `conversation_id`",
        names: &[
            "gen_ai.conversation.id",
            "session.id",
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.conversation_id",
            "traceloop.association.properties.thread_id",
            "traceloop.association.properties.chat_id",
            "langfuse.session.id",
        ],
    },
    Row {
        field: Field::User,
        goes_to: "session `labels`: `user`",
        names: &[
            "user.id",
            "enduser.id",
            "traceloop.association.properties.user_id",
            "langfuse.user.id",
            "gen_ai.user",
            "llm.user",
        ],
    },
    Row {
        field: Field::Tenant,
        goes_to: "session `tenant`",
        names: &["tenant.id", "traceloop.association.properties.tenant_id"],
    },
    Row {
        field: Field::Service,
        goes_to: "session `profile` (attribute of the resource)",
        names: &["service.name"],
    },
    Row {
        field: Field::ServiceVersion,
        goes_to: "session `agent_version`, where no agent's is said (attribute of the resource)",
        names: &["service.version"],
    },
    Row {
        field: Field::Environment,
        goes_to: "session `labels`: `environment` (attribute of the resource)",
        names: &["deployment.environment.name", "deployment.environment"],
    },
];

/// Lists that come as one attribute per value. The name of each goes on with an index and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    InputMessages,
    OutputMessages,
    InputTexts,
    OutputTexts,
    Tools,
    Results,
    TraceResults,
    ConversationResults,
}

impl Family {
    /// Number of the families. `family as usize` is an index below it.
    pub(super) const COUNT: usize = 8;
}

/// A family, with the beginnings of its attributes' names.
pub(super) struct FamilyRow {
    pub(super) family: Family,
    /// Columns that the values go to.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the documentation, which a test holds against it")
    )]
    pub(super) goes_to: &'static str,
    pub(super) prefixes: &'static [&'static str],
}

pub(super) static FAMILIES: &[FamilyRow] = &[
    FamilyRow {
        family: Family::InputMessages,
        goes_to: "step `input`",
        prefixes: &["llm.input_messages.", "gen_ai.prompt."],
    },
    FamilyRow {
        family: Family::OutputMessages,
        goes_to: "step `output`, decisions",
        prefixes: &["llm.output_messages.", "gen_ai.completion."],
    },
    FamilyRow { family: Family::InputTexts, goes_to: "step `input`", prefixes: &["llm.prompts."] },
    FamilyRow {
        family: Family::OutputTexts,
        goes_to: "step `output`",
        prefixes: &["llm.choices.", "retrieval.documents.", "reranker.output_documents."],
    },
    FamilyRow {
        family: Family::Tools,
        goes_to: "a decision's `options_considered`",
        prefixes: &["llm.tools.", "llm.request.functions."],
    },
    FamilyRow {
        family: Family::Results,
        goes_to: "findings of the step",
        prefixes: &["annotations.", "evaluations."],
    },
    FamilyRow {
        family: Family::TraceResults,
        goes_to: "findings of the session, `scope` trace",
        prefixes: &["trace.annotations.", "trace.evaluations."],
    },
    FamilyRow {
        family: Family::ConversationResults,
        goes_to: "findings of the session, `scope` conversation",
        prefixes: &["session.annotations.", "session.evaluations."],
    },
];

/// The special purpose of a span's work, beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
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
    pub(super) const fn gives(self) -> &'static str {
        match self {
            Work::Plain => "",
            Work::Run => "input and output of the session",
            Work::Decision | Work::Plan | Work::Guardrail => "a decision",
            Work::Evaluation => "findings",
        }
    }
}

/// A word for a kind of work.
pub(super) struct Word {
    pub(super) word: &'static str,
    pub(super) kind: StepKind,
    pub(super) work: Work,
}

const fn word(word: &'static str, kind: StepKind, work: Work) -> Word {
    Word { word, kind, work }
}

/// Attributes that name the kind of a span's work, best first, with their words. The case of a word does not
/// matter.
pub(super) static KINDS: &[(&str, &[Word])] = &[
    (
        "gen_ai.operation.name",
        &[
            word("chat", StepKind::Llm, Work::Plain),
            word("text_completion", StepKind::Llm, Work::Plain),
            word("generate_content", StepKind::Llm, Work::Plain),
            word("embeddings", StepKind::Other, Work::Plain),
            word("retrieval", StepKind::Retrieval, Work::Plain),
            word("search_memory", StepKind::Retrieval, Work::Plain),
            word("execute_tool", StepKind::Tool, Work::Plain),
            word("invoke_agent", StepKind::Agent, Work::Run),
            word("create_agent", StepKind::Other, Work::Plain),
            word("invoke_workflow", StepKind::Chain, Work::Run),
            word("execute_task", StepKind::Chain, Work::Plain),
            word("plan", StepKind::Chain, Work::Plan),
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
            word("EMBEDDING", StepKind::Other, Work::Plain),
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
            word("embedding", StepKind::Other, Work::Plain),
        ],
    ),
];

/// The meaning of a span's event, or of a log record, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// Messages of a call of a model, as attributes.
    Details,
    /// One message of the input, from a user.
    UserMessage,
    /// One message of the input, not from a user.
    OtherMessage(&'static str),
    /// One answer.
    Choice,
    /// The result of an evaluation.
    Evaluation,
    /// An exception.
    Exception,
}

/// Events of spans, and log records, by their name.
pub(super) static EVENTS: &[(&str, Happening, &str)] = &[
    ("gen_ai.client.inference.operation.details", Happening::Details, "step `input` and `output`, decisions"),
    ("gen_ai.content.prompt", Happening::Details, "step `input`"),
    ("gen_ai.content.completion", Happening::Details, "step `output`, decisions"),
    ("gen_ai.user.message", Happening::UserMessage, "step `input`"),
    ("gen_ai.system.message", Happening::OtherMessage("system"), "a note"),
    ("gen_ai.assistant.message", Happening::OtherMessage("assistant"), "a note"),
    ("gen_ai.tool.message", Happening::OtherMessage("tool"), "a note"),
    ("gen_ai.choice", Happening::Choice, "step `output`, decisions"),
    ("gen_ai.evaluation.result", Happening::Evaluation, "a finding"),
    ("exception", Happening::Exception, "step `error`, a finding"),
    ("gen_ai.client.operation.exception", Happening::Exception, "step `error`, a finding"),
];

/// Labels of evaluations whose outcome is plain from the word. A score gives no outcome: its range and
/// direction are the evaluator's own.
pub(super) static OUTCOMES: &[(Outcome, &[&str])] = &[
    (
        Outcome::Pass,
        &[
            "pass",
            "passed",
            "true",
            "yes",
            "ok",
            "success",
            "correct",
            "relevant",
            "faithful",
            "grounded",
            "factual",
            "safe",
            "valid",
            "compliant",
            "non-toxic",
            "not_toxic",
            "unharmful",
            "allowed",
        ],
    ),
    (
        Outcome::Fail,
        &[
            "fail",
            "failed",
            "false",
            "no",
            "failure",
            "incorrect",
            "irrelevant",
            "not_relevant",
            "not relevant",
            "unfaithful",
            "ungrounded",
            "hallucinated",
            "hallucination",
            "unsafe",
            "invalid",
            "non_compliant",
            "toxic",
            "harmful",
            "blocked",
        ],
    ),
    (Outcome::Skip, &["skip", "skipped", "not_applicable", "n/a"]),
    (Outcome::Warning, &["warning", "warn", "partial", "partially_correct"]),
    (Outcome::Error, &["error"]),
];

/// The field that an attribute stands for, and the rank of its name among those of the field; 0 is best.
pub(super) fn field(name: &str) -> Option<(Field, u8)> {
    // Made once, because every attribute of every span is looked up.
    static BY_NAME: LazyLock<HashMap<&str, (Field, u8)>> = LazyLock::new(|| {
        ATTRIBUTES
            .iter()
            .flat_map(|row| row.names.iter().zip(0..).map(|(name, place)| (*name, (row.field, place))))
            .collect()
    });
    BY_NAME.get(name).copied()
}

/// The list that an attribute is a part of, and the rest of its name, which begins with an index.
pub(super) fn family(name: &str) -> Option<(Family, &str)> {
    FAMILIES
        .iter()
        .flat_map(|row| row.prefixes.iter().map(|prefix| (row.family, *prefix)))
        .find_map(|(family, prefix)| Some((family, name.strip_prefix(prefix)?)))
        // Without an index after the prefix an attribute is no part of a list.
        .filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The kind of work that a word of one of [`KINDS`] stands for.
pub(super) fn kind(attribute: &str, said: &str) -> Option<&'static Word> {
    let (_, words) = KINDS.iter().find(|(name, _)| *name == attribute)?;
    words.iter().find(|word| word.word.eq_ignore_ascii_case(said))
}

pub(super) fn happening(name: &str) -> Option<Happening> {
    EVENTS.iter().find(|(own, ..)| *own == name).map(|(_, happening, _)| *happening)
}

pub(super) fn outcome(label: &str) -> Option<Outcome> {
    let label = label.trim();
    OUTCOMES
        .iter()
        .find(|(_, words)| words.iter().any(|word| word.eq_ignore_ascii_case(label)))
        .map(|(outcome, _)| *outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write as _;

    use super::*;

    /// The tables in the form of the documentation.
    fn tables() -> Vec<String> {
        let code =
            |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut attributes = String::from("| goes to | attributes, best first |\n| --- | --- |\n");
        for row in ATTRIBUTES {
            writeln!(attributes, "| {} | {} |", row.goes_to, code(row.names)).unwrap();
        }
        let mut families = String::from("| goes to | attributes whose names begin with |\n| --- | --- |\n");
        for row in FAMILIES {
            writeln!(families, "| {} | {} |", row.goes_to, code(row.prefixes)).unwrap();
        }
        let mut kinds =
            String::from("| attribute | value | step `kind` | also gives |\n| --- | --- | --- | --- |\n");
        for (attribute, words) in KINDS {
            for word in *words {
                writeln!(
                    kinds,
                    "| `{attribute}` | `{}` | {} | {} |",
                    word.word,
                    word.kind,
                    word.work.gives()
                )
                .unwrap();
            }
        }
        let mut events = String::from("| name | goes to |\n| --- | --- |\n");
        for (name, _, goes_to) in EVENTS {
            writeln!(events, "| `{name}` | {goes_to} |").unwrap();
        }
        let mut outcomes = String::from("| finding's `outcome` | label |\n| --- | --- |\n");
        for (outcome, words) in OUTCOMES {
            writeln!(outcomes, "| {outcome} | {} |", words.join(", ")).unwrap();
        }
        vec![attributes, families, kinds, events, outcomes]
    }

    #[test]
    fn the_documentation_has_the_same_tables() {
        let page = include_str!("../../docs/opentelemetry.md");
        let tables = tables();
        let are_there = tables.iter().all(|table| page.contains(table));
        assert!(are_there, "docs/opentelemetry.md must have these tables:\n\n{}", tables.join("\n"));
    }

    #[test]
    fn a_name_stands_for_one_thing() {
        let mut seen = HashSet::new();
        // A name in two rows would have two meanings, of which `field` keeps the last.
        let names = ATTRIBUTES.iter().flat_map(|row| row.names);
        for name in names.chain(KINDS.iter().map(|(name, _)| name)) {
            assert!(seen.insert(name), "{name} stands twice");
            assert_eq!(family(name), None, "{name}");
        }
        let mut seen = HashSet::new();
        for word in OUTCOMES.iter().flat_map(|(_, words)| *words) {
            assert!(seen.insert(word), "{word} stands twice");
        }
    }
}
