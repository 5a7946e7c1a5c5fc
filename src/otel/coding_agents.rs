//! Coding agents that send log records: their names, and the names of their events and attributes.
//! `docs/opentelemetry.md` has the same tables, and a test compares the two.
//!
//! Sources: Claude Code's page on monitoring (<https://code.claude.com/docs/en/monitoring-usage>, up to version
//! 2.1.246); Codex's `codex-rs/otel/src/events/session_telemetry.rs` (<https://github.com/openai/codex>, commit
//! a2a5acb); Gemini CLI's `docs/cli/telemetry.md` and `packages/core/src/telemetry/types.ts`
//! (<https://github.com/google-gemini/gemini-cli>, commits 04bcbc6 and 001a804).
//!
//! Names such as `model` and `output` are too common for the table of [`super::conventions`]. They are looked up
//! only in log records of these agents.

/// A coding agent.
#[derive(Debug, PartialEq)]
pub(super) struct Agent {
    /// The agent of the session.
    pub(super) name: &'static str,
    /// The beginning of its events' names.
    prefix: &'static str,
    /// The instrumentation scopes of its log records and spans. In these scopes the names of events may lack the
    /// prefix.
    scopes: &'static [&'static str],
    /// The meaning of `service.version` in its resource.
    pub(super) service_version: Version,
    /// Tokens that its counts of input and output lack.
    pub(super) apart: &'static [Apart],
}

/// Tokens that some agents count apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apart {
    /// Tokens of the provider's cache, beside those of the input.
    Cache,
    /// Tokens of reasoning, beside those of the output.
    Reasoning,
}

/// The subject of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    OfAgent,
    /// The version of the runtime that the agent runs in.
    OfRuntime,
}

static AGENTS: [Agent; 3] = [
    Agent {
        name: "claude-code",
        prefix: "claude_code.",
        scopes: &["com.anthropic.claude_code.events", "com.anthropic.claude_code.tracing"],
        service_version: Version::OfAgent,
        apart: &[Apart::Cache],
    },
    Agent { name: "codex", prefix: "codex.", scopes: &[], service_version: Version::OfAgent, apart: &[] },
    Agent {
        name: "gemini-cli",
        prefix: "gemini_cli.",
        scopes: &["gemini-cli"],
        service_version: Version::OfRuntime,
        apart: &[Apart::Reasoning],
    },
];

/// The meaning of a coding agent's log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The settings with which the session starts.
    Start,
    /// A prompt of the user.
    Prompt,
    /// A call of a model: its begin, its end or its failure.
    ModelCall,
    /// An event of a model's stream. It reports a call if it is the last one.
    StreamEvent,
    /// The text of a model's answer.
    Answer,
    /// The permission to call a tool, or the refusal.
    Approval,
    /// The result of a call of a tool.
    ToolCall,
}

const MODEL_CALL: &str =
    "a step of kind llm, if it has tokens; a failed one and a finding, if it has an error";
const TOOL_CALL: &str = "a step of kind tool";

/// Log records by their name.
static EVENTS: &[(&str, Report, &str)] = &[
    ("claude_code.user_prompt", Report::Prompt, "session `input`"),
    ("claude_code.api_request", Report::ModelCall, MODEL_CALL),
    ("claude_code.api_error", Report::ModelCall, MODEL_CALL),
    ("claude_code.assistant_response", Report::Answer, "`output` of the step with the same request"),
    ("claude_code.tool_decision", Report::Approval, "a decision"),
    ("claude_code.tool_result", Report::ToolCall, TOOL_CALL),
    ("codex.conversation_starts", Report::Start, "session `model`, `agent_version`, `attributes`"),
    ("codex.user_prompt", Report::Prompt, "session `input`"),
    ("codex.api_request", Report::ModelCall, MODEL_CALL),
    ("codex.sse_event", Report::StreamEvent, "the same, if `event.kind` is `response.completed`"),
    ("codex.tool_decision", Report::Approval, "a decision"),
    ("codex.tool_result", Report::ToolCall, TOOL_CALL),
    ("gemini_cli.config", Report::Start, "session `model`, `attributes`"),
    ("gemini_cli.user_prompt", Report::Prompt, "session `input`"),
    ("gemini_cli.api_request", Report::ModelCall, MODEL_CALL),
    ("gemini_cli.api_response", Report::ModelCall, MODEL_CALL),
    ("gemini_cli.api_error", Report::ModelCall, MODEL_CALL),
    ("gemini_cli.tool_call", Report::ToolCall, "a step of kind tool; a decision, if it has one"),
];

/// The purpose of an attribute of a coding agent's log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Call,
    Request,
    Prompt,
    Model,
    Role,
    Tool,
    Arguments,
    Output,
    TokensInput,
    TokensOutput,
    TokensCacheRead,
    TokensCacheWrite,
    TokensReasoning,
    Cost,
    CostMicros,
    Duration,
    Success,
    StatusCode,
    ErrorType,
    Error,
    Decision,
    DecisionSource,
    Version,
}

/// Attributes by their purpose, best first.
static FACTS: &[(Fact, &str, &[&str])] = &[
    (Fact::Call, "the id of a tool's step", &["tool_use_id", "call_id"]),
    (Fact::Request, "the id of a model's step", &["request_id", "client_request_id", "auth.request_id"]),
    (Fact::Prompt, "session `input`", &["prompt"]),
    (Fact::Model, "step `model`, session `model`", &["model"]),
    (Fact::Role, "step `module`, where the kind is llm", &["query_source", "role"]),
    (Fact::Tool, "step `module`, where the kind is tool", &["tool_name", "function_name"]),
    (Fact::Arguments, "step `input`", &["tool_input", "tool_parameters", "arguments", "function_args"]),
    (Fact::Output, "step `output`", &["output", "response", "response_text"]),
    (Fact::TokensInput, "step `tokens_input`", &["input_tokens", "input_token_count"]),
    (Fact::TokensOutput, "step `tokens_output`", &["output_tokens", "output_token_count"]),
    (
        Fact::TokensCacheRead,
        "step `tokens_cache_read`",
        &["cache_read_tokens", "cached_token_count", "cached_content_token_count"],
    ),
    (
        Fact::TokensCacheWrite,
        "step `tokens_cache_write`",
        &["cache_creation_tokens", "cache_write_token_count"],
    ),
    (Fact::TokensReasoning, "step `tokens_reasoning`", &["reasoning_token_count", "thoughts_token_count"]),
    (Fact::Cost, "step `cost_usd`", &["cost_usd"]),
    (Fact::CostMicros, "step `cost_usd`, in millionths", &["cost_usd_micros"]),
    (Fact::Duration, "the time from `started_at` to `ended_at`", &["duration_ms"]),
    (Fact::Success, "step `status`", &["success"]),
    (
        Fact::StatusCode,
        "step `status` error, from 400",
        &["status_code", "http.response.status_code", "http.status_code"],
    ),
    (Fact::ErrorType, "a finding's `pattern_type`", &["error_type", "error.type"]),
    (Fact::Error, "step `status` error, step `error`", &["error", "error.message"]),
    (Fact::Decision, "a decision's `chosen_option`", &["decision"]),
    (Fact::DecisionSource, "a decision's `actor`", &["source"]),
    (Fact::Version, "session `agent_version`", &["app.version"]),
];

/// The name of the span in which Claude Code waits for the permission to call a tool. Its attributes `decision` and
/// `source` are those of the log record about the decision.
pub(super) const PERMISSION_SPAN: &str = "claude_code.tool.blocked_on_user";

/// The option by which a call is allowed.
pub(super) const ACCEPT: &str = "accept";

/// The two options of a permission, with the beginnings of the agents' words for each.
static OPTIONS: &[(&str, &[&str])] = &[
    (ACCEPT, &["accept", "auto_accept", "approved", "modify"]),
    ("reject", &["reject", "denied", "abort", "timed"]),
];

/// The deciders of a permission, with the beginnings of the agents' words for each.
static DECIDERS: &[(&str, &[&str])] =
    &[("user", &["user"]), ("configuration", &["config"]), ("hook", &["hook"])];

/// The coding agent that sent a log record, by the record's name and its scope.
pub(super) fn agent(name: Option<&str>, scope: Option<&str>) -> Option<&'static Agent> {
    AGENTS.iter().find(|agent| {
        name.is_some_and(|name| name.starts_with(agent.prefix))
            || scope.is_some_and(|scope| agent.scopes.contains(&scope))
    })
}

/// Returns true if a log record with this name and this scope is from a coding agent.
#[cfg(feature = "server")]
pub(crate) fn is_of_coding_agent(name: Option<&str>, scope: Option<&str>) -> bool {
    agent(name, scope).is_some()
}

/// The meaning of a log record of an agent, by its name.
pub(super) fn report(agent: &Agent, name: &str) -> Option<Report> {
    let bare = name.strip_prefix(agent.prefix).unwrap_or(name);
    EVENTS.iter().find(|(own, ..)| own.strip_prefix(agent.prefix) == Some(bare)).map(|(_, report, _)| *report)
}

/// The names of the attributes for a purpose, best first.
pub(super) fn names(fact: Fact) -> &'static [&'static str] {
    FACTS.iter().find(|(own, ..)| *own == fact).map_or(&[], |(.., names)| names)
}

/// The options of a permission.
pub(super) fn options() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(option, _)| *option)
}

/// The option that an agent's word stands for. None if it is not known.
pub(super) fn option(said: &str) -> Option<&'static str> {
    word(OPTIONS, said)
}

/// The decider that an agent's word stands for. None if it is not known.
pub(super) fn decider(said: &str) -> Option<&'static str> {
    word(DECIDERS, said)
}

fn word(words: &[(&'static str, &[&str])], said: &str) -> Option<&'static str> {
    // Words come in any case: the agents' own settings, or names of their code.
    let said = said.to_ascii_lowercase();
    let has = |beginnings: &[&str]| beginnings.iter().any(|beginning| said.starts_with(beginning));
    words.iter().find(|(_, beginnings)| has(beginnings)).map(|(word, _)| *word)
}

/// The beginnings of the words for calls of the session's own conversation. Others are subagents, titles, summaries.
const MAIN_ROLES: [&str; 3] = ["main", "sdk", "repl_main_thread"];

/// Returns true if a call with this role is one of the session's own conversation. A call without a role is.
pub(super) fn is_main(role: Option<&str>) -> bool {
    role.is_none_or(|role| MAIN_ROLES.iter().any(|main| role.starts_with(main)))
}

/// Returns true if a text is withheld: the agents put such a word in its place.
pub(super) fn is_withheld(text: &str) -> bool {
    matches!(text, "<REDACTED>" | "[REDACTED]")
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
        let mut agents = String::from("| agent | names begin with | scopes |\n| --- | --- | --- |\n");
        for agent in &AGENTS {
            writeln!(agents, "| {} | `{}` | {} |", agent.name, agent.prefix, code(agent.scopes)).unwrap();
        }
        let mut events = String::from("| name | goes to |\n| --- | --- |\n");
        for (name, _, goes_to) in EVENTS {
            writeln!(events, "| `{name}` | {goes_to} |").unwrap();
        }
        let mut facts = String::from("| goes to | attributes, best first |\n| --- | --- |\n");
        for (_, goes_to, names) in FACTS {
            writeln!(facts, "| {goes_to} | {} |", code(names)).unwrap();
        }
        let mut decisions = String::from("| column | value | words that begin with |\n| --- | --- | --- |\n");
        for (column, words) in [("chosen_option", OPTIONS), ("actor", DECIDERS)] {
            for (word, beginnings) in words {
                writeln!(decisions, "| `{column}` | {word} | {} |", code(beginnings)).unwrap();
            }
        }
        vec![agents, events, facts, decisions]
    }

    #[test]
    fn the_documentation_has_the_same_tables() {
        let page = include_str!("../../docs/opentelemetry.md");
        let tables = tables();
        let are_there = tables.iter().all(|table| page.contains(table));
        assert!(are_there, "docs/opentelemetry.md must have these tables:\n\n{}", tables.join("\n"));
    }

    #[test]
    fn a_name_has_one_meaning() {
        let mut seen = HashSet::new();
        assert!(EVENTS.iter().all(|(name, ..)| seen.insert(*name)));
        assert!(FACTS.iter().flat_map(|(.., names)| *names).all(|name| seen.insert(name)));
        assert!(EVENTS.iter().all(|(name, ..)| agent(Some(name), None).is_some()));
    }

    #[test]
    fn an_agent_is_known_by_the_beginning_of_a_name_or_by_its_scope() {
        let named = |name, scope| agent(name, scope).map(|agent| agent.name);
        assert_eq!(named(Some("claude_code.api_request"), None), Some("claude-code"));
        assert_eq!(named(Some("codex.some_new_event"), None), Some("codex"));
        assert_eq!(named(None, Some("com.anthropic.claude_code.events")), Some("claude-code"));
        assert_eq!(named(Some("api_request"), None), None);
        assert_eq!(named(Some("codex"), Some("codex")), None);
        for name in ["api_request", "claude_code.api_request"] {
            assert_eq!(report(&AGENTS[0], name), Some(Report::ModelCall), "{name}");
        }
        assert_eq!(report(&AGENTS[0], "codex.sse_event"), None);
    }
}
