//! What instrumented programs send, and what is to come of it.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and fails where it cannot go on"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};
use serde::Deserialize;
use serde_json::Value;

/// A program of `tests/clients`.
pub(crate) struct Client {
    /// Its folder in `tests/fixtures/otlp`, and its file in `tests/clients/expected`.
    pub(crate) name: &'static str,
    pub(crate) program: &'static [&'static str],
    /// What is set beside the endpoint, as when its requests were captured.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// How many spans and log records it sends.
    pub(crate) spans: i64,
    pub(crate) log_records: i64,
    /// What is in the read tables then, as [`outline`] tells it.
    pub(crate) expected: &'static str,
}

const PROTOBUF: &[(&str, &str)] = &[];
const GZIP: &[(&str, &str)] = &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
const JSON: &[(&str, &str)] = &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
const GZIPPED_JSON: &[(&str, &str)] =
    &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
const SPAN_BY_SPAN: &[(&str, &str)] = &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
const CONTENT: &[(&str, &str)] = &[("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")];
const CONTENT_ON_SPANS: &[(&str, &str)] =
    &[("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")];
const CONTENT_IN_EVENTS: &[(&str, &str)] = &[
    ("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental"),
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "EVENT_ONLY"),
];
const LATEST: &[(&str, &str)] = &[
    ("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental"),
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_AND_EVENT"),
];
const LITELLM: &[(&str, &str)] = &[
    ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    ("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental"),
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY"),
];
const LATEST_WITH_TOOLS: &[(&str, &str)] =
    &[("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental,gen_ai_tool_definitions")];

pub(crate) static LANGCHAIN_OPENINFERENCE: Client = Client {
    name: "langchain-openinference",
    program: &["python/langchain_openinference.py"],
    environment: PROTOBUF,
    spans: 7,
    log_records: 0,
    expected: include_str!("../clients/expected/langchain-openinference.txt"),
};

pub(crate) static LANGCHAIN_TRACELOOP: Client = Client {
    name: "langchain-traceloop",
    program: &["python/langchain_traceloop.py"],
    environment: PROTOBUF,
    spans: 8,
    log_records: 0,
    expected: include_str!("../clients/expected/langchain-traceloop.txt"),
};

pub(crate) static PYDANTIC_AI: Client = Client {
    name: "pydantic-ai",
    program: &["python/pydantic_agent.py"],
    environment: GZIP,
    spans: 4,
    log_records: 0,
    expected: include_str!("../clients/expected/pydantic-ai.txt"),
};

pub(crate) static PYDANTIC_AI_V2: Client = Client {
    name: "pydantic-ai-v2",
    program: &["python/pydantic_agent.py", "2"],
    environment: GZIP,
    spans: 4,
    log_records: 0,
    expected: include_str!("../clients/expected/pydantic-ai-v2.txt"),
};

pub(crate) static PYDANTIC_AI_TWICE: Client = Client {
    name: "pydantic-ai-twice",
    program: &["python/pydantic_agent.py", "twice"],
    environment: GZIP,
    spans: 9,
    log_records: 0,
    expected: include_str!("../clients/expected/pydantic-ai-twice.txt"),
};

pub(crate) static OPENAI_OPENINFERENCE: Client = Client {
    name: "openai-openinference",
    program: &["python/openai_openinference.py"],
    environment: PROTOBUF,
    spans: 5,
    log_records: 0,
    expected: include_str!("../clients/expected/openai-openinference.txt"),
};

pub(crate) static EVALUATIONS: Client = Client {
    name: "evaluations",
    program: &["python/evaluations.py"],
    environment: PROTOBUF,
    spans: 4,
    log_records: 0,
    expected: include_str!("../clients/expected/evaluations.txt"),
};

pub(crate) static GENAI_EVENTS: Client = Client {
    name: "genai-events",
    program: &["python/genai_events.py"],
    environment: PROTOBUF,
    spans: 5,
    log_records: 4,
    expected: include_str!("../clients/expected/genai-events.txt"),
};

pub(crate) static CONVERSATION: Client = Client {
    name: "conversation",
    program: &["python/conversation.py"],
    environment: SPAN_BY_SPAN,
    spans: 8,
    log_records: 0,
    expected: include_str!("../clients/expected/conversation.txt"),
};

pub(crate) static NODE_OPENAI_OTEL: Client = Client {
    name: "node-openai-otel",
    program: &["node/openai_otel.cjs"],
    environment: PROTOBUF,
    spans: 5,
    log_records: 9,
    expected: include_str!("../clients/expected/node-openai-otel.txt"),
};

pub(crate) static NODE_OPENAI_OTEL_JSON: Client =
    Client { name: "node-openai-otel-json", environment: JSON, ..NODE_OPENAI_OTEL };

pub(crate) static NODE_OPENAI_OPENINFERENCE: Client = Client {
    name: "node-openai-openinference",
    program: &["node/openai_openinference.cjs"],
    environment: GZIP,
    spans: 4,
    log_records: 0,
    expected: include_str!("../clients/expected/node-openai-openinference.txt"),
};

pub(crate) static NODE_OPENAI_OPENINFERENCE_JSON: Client =
    Client { name: "node-openai-openinference-json", environment: GZIPPED_JSON, ..NODE_OPENAI_OPENINFERENCE };

pub(crate) static VERCEL_AI_5: Client = Client {
    name: "vercel-ai-5",
    program: &["node/agents/vercel_ai.cjs", "5"],
    environment: PROTOBUF,
    spans: 12,
    log_records: 0,
    expected: include_str!("../clients/expected/vercel-ai-5.txt"),
};

pub(crate) static VERCEL_AI_6: Client = Client {
    name: "vercel-ai-6",
    program: &["node/agents/vercel_ai.cjs", "6"],
    environment: PROTOBUF,
    spans: 12,
    log_records: 0,
    expected: include_str!("../clients/expected/vercel-ai-6.txt"),
};

pub(crate) static VERCEL_AI_7: Client = Client {
    name: "vercel-ai-7",
    program: &["node/agents/vercel_ai.cjs", "7"],
    environment: PROTOBUF,
    spans: 18,
    log_records: 0,
    expected: include_str!("../clients/expected/vercel-ai-7.txt"),
};

pub(crate) static VERCEL_AI_7_LEGACY: Client = Client {
    name: "vercel-ai-7-legacy",
    program: &["node/agents/vercel_ai.cjs", "legacy"],
    environment: PROTOBUF,
    spans: 13,
    log_records: 0,
    expected: include_str!("../clients/expected/vercel-ai-7-legacy.txt"),
};

pub(crate) static CODEX: Client = Client {
    name: "codex",
    program: &["node/agents/codex.cjs"],
    environment: PROTOBUF,
    spans: 0,
    log_records: 23,
    expected: include_str!("../clients/expected/codex.txt"),
};

pub(crate) static CLAUDE_CODE: Client = Client {
    name: "claude-code",
    program: &["node/agents/claude_code.cjs"],
    environment: PROTOBUF,
    spans: 0,
    log_records: 20,
    expected: include_str!("../clients/expected/claude-code.txt"),
};

pub(crate) static CLAUDE_CODE_SPANS: Client = Client {
    name: "claude-code-spans",
    program: &["node/agents/claude_code.cjs", "spans"],
    environment: PROTOBUF,
    spans: 13,
    log_records: 20,
    expected: include_str!("../clients/expected/claude-code-spans.txt"),
};

pub(crate) static GEMINI_CLI: Client = Client {
    name: "gemini-cli",
    program: &["node/agents/gemini_cli.cjs"],
    environment: GZIP,
    spans: 6,
    log_records: 20,
    expected: include_str!("../clients/expected/gemini-cli.txt"),
};

pub(crate) static GEMINI_CLI_SPANS: Client = Client {
    name: "gemini-cli-spans",
    program: &["node/agents/gemini_cli.cjs", "spans"],
    environment: GZIP,
    spans: 6,
    log_records: 20,
    expected: include_str!("../clients/expected/gemini-cli-spans.txt"),
};

pub(crate) static LANGFUSE_JS: Client = Client {
    name: "langfuse-js",
    program: &["node/agents/langfuse.cjs"],
    environment: PROTOBUF,
    spans: 11,
    log_records: 0,
    expected: include_str!("../clients/expected/langfuse-js.txt"),
};

pub(crate) static LANGGRAPH_JS: Client = Client {
    name: "langgraph-js",
    program: &["node/agents/langgraph.cjs"],
    environment: PROTOBUF,
    spans: 16,
    log_records: 0,
    expected: include_str!("../clients/expected/langgraph-js.txt"),
};

pub(crate) static LANGSMITH_JS: Client = Client {
    name: "langsmith-js",
    program: &["node/agents/langsmith.cjs"],
    environment: PROTOBUF,
    spans: 7,
    log_records: 0,
    expected: include_str!("../clients/expected/langsmith-js.txt"),
};

pub(crate) static STRANDS: Client = Client {
    name: "strands",
    program: &["python/strands_agent.py"],
    environment: PROTOBUF,
    spans: 10,
    log_records: 0,
    expected: include_str!("../clients/expected/strands.txt"),
};

pub(crate) static STRANDS_LATEST: Client = Client {
    name: "strands-latest",
    program: &["python/strands_agent.py"],
    environment: LATEST_WITH_TOOLS,
    spans: 10,
    log_records: 0,
    expected: include_str!("../clients/expected/strands-latest.txt"),
};

pub(crate) static OPENAI_AGENTS_OPENINFERENCE: Client = Client {
    name: "openai-agents-openinference",
    program: &["python/openai_agents_openinference.py"],
    environment: PROTOBUF,
    spans: 27,
    log_records: 0,
    expected: include_str!("../clients/expected/openai-agents-openinference.txt"),
};

pub(crate) static OPENAI_AGENTS_TRACELOOP: Client = Client {
    name: "openai-agents-traceloop",
    program: &["python/openai_agents_traceloop.py"],
    environment: PROTOBUF,
    spans: 17,
    log_records: 0,
    expected: include_str!("../clients/expected/openai-agents-traceloop.txt"),
};

pub(crate) static OPENAI_AGENTS_OTEL: Client = Client {
    name: "openai-agents-otel",
    program: &["python/openai_agents_otel.py"],
    environment: CONTENT_ON_SPANS,
    spans: 17,
    log_records: 0,
    expected: include_str!("../clients/expected/openai-agents-otel.txt"),
};

pub(crate) static OPENAI_AGENTS_LOGFIRE: Client = Client {
    name: "openai-agents-logfire",
    program: &["python/openai_agents_logfire.py"],
    environment: PROTOBUF,
    spans: 27,
    log_records: 0,
    expected: include_str!("../clients/expected/openai-agents-logfire.txt"),
};

pub(crate) static GOOGLE_ADK: Client = Client {
    name: "google-adk",
    program: &["python/google_adk_agent.py"],
    environment: CONTENT,
    spans: 17,
    log_records: 5,
    expected: include_str!("../clients/expected/google-adk.txt"),
};

pub(crate) static GOOGLE_ADK_LATEST: Client = Client {
    name: "google-adk-latest",
    program: &["python/google_adk_agent.py"],
    environment: LATEST,
    spans: 17,
    log_records: 5,
    expected: include_str!("../clients/expected/google-adk-latest.txt"),
};

pub(crate) static GOOGLE_ADK_LITELLM: Client = Client {
    name: "google-adk-litellm",
    program: &["python/google_adk_agent.py", "litellm"],
    environment: LITELLM,
    spans: 7,
    log_records: 2,
    expected: include_str!("../clients/expected/google-adk-litellm.txt"),
};

pub(crate) static SMOLAGENTS_OPENINFERENCE: Client = Client {
    name: "smolagents-openinference",
    program: &["python/smolagents_openinference.py"],
    environment: PROTOBUF,
    spans: 16,
    log_records: 0,
    expected: include_str!("../clients/expected/smolagents-openinference.txt"),
};

pub(crate) static AGENT_FRAMEWORK: Client = Client {
    name: "agent-framework",
    program: &["python/agent_framework_agent.py"],
    environment: PROTOBUF,
    spans: 11,
    log_records: 19,
    expected: include_str!("../clients/expected/agent-framework.txt"),
};

pub(crate) static OPENAI_OTEL: Client = Client {
    name: "openai-otel",
    program: &["python/openai_otel.py"],
    environment: CONTENT_IN_EVENTS,
    spans: 4,
    log_records: 3,
    expected: include_str!("../clients/expected/openai-otel.txt"),
};

pub(crate) static LANGFUSE: Client = Client {
    name: "langfuse",
    program: &["python/langfuse_sdk.py"],
    environment: PROTOBUF,
    spans: 7,
    log_records: 0,
    expected: include_str!("../clients/expected/langfuse.txt"),
};

/// Those that every run of the tests installs.
static LIGHT: &[&Client] = &[
    &LANGCHAIN_OPENINFERENCE,
    &LANGCHAIN_TRACELOOP,
    &PYDANTIC_AI,
    &PYDANTIC_AI_V2,
    &PYDANTIC_AI_TWICE,
    &OPENAI_OPENINFERENCE,
    &EVALUATIONS,
    &GENAI_EVENTS,
    &CONVERSATION,
    &NODE_OPENAI_OTEL,
    &NODE_OPENAI_OTEL_JSON,
    &NODE_OPENAI_OPENINFERENCE,
    &NODE_OPENAI_OPENINFERENCE_JSON,
];

/// Those whose packages are many: `tools/test` installs them, apart from the others, with `--heavy`.
pub(crate) static AGENTS: &[&Client] = &[
    &VERCEL_AI_5,
    &VERCEL_AI_6,
    &VERCEL_AI_7,
    &VERCEL_AI_7_LEGACY,
    &CODEX,
    &CLAUDE_CODE,
    &CLAUDE_CODE_SPANS,
    &GEMINI_CLI,
    &GEMINI_CLI_SPANS,
    &LANGFUSE_JS,
    &LANGGRAPH_JS,
    &LANGSMITH_JS,
    &STRANDS,
    &STRANDS_LATEST,
    &OPENAI_AGENTS_OPENINFERENCE,
    &OPENAI_AGENTS_TRACELOOP,
    &OPENAI_AGENTS_OTEL,
    &OPENAI_AGENTS_LOGFIRE,
    &GOOGLE_ADK,
    &GOOGLE_ADK_LATEST,
    &GOOGLE_ADK_LITELLM,
    &SMOLAGENTS_OPENINFERENCE,
    &AGENT_FRAMEWORK,
    &LANGFUSE,
    &OPENAI_OTEL,
];

/// All of them.
pub(crate) fn clients() -> impl Iterator<Item = &'static Client> {
    LIGHT.iter().chain(AGENTS).copied()
}

impl Client {
    /// The requests that it once sent, in the order in which they arrived.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let folder = folder("tests/fixtures/otlp").join(self.name);
        let list = std::fs::read(folder.join("requests.json")).unwrap();
        let mut requests: Vec<Request> = serde_json::from_slice(&list).unwrap();
        for request in &mut requests {
            request.body = std::fs::read(folder.join(&request.file)).unwrap();
        }
        requests
    }

    /// Holds a log that nobody appends to any more against what this program's spans and log records mean.
    #[track_caller]
    pub(crate) fn assert_recorded(&self, log: &Path) {
        self.assert_understood(log);
        assert_eq!(count(log, "otel.span"), self.spans, "spans of {}", self.name);
        assert_eq!(count(log, "otel.log"), self.log_records, "log records of {}", self.name);
    }

    /// The same without the numbers: how often a coding agent reports its own upkeep depends on how long it runs.
    #[track_caller]
    pub(crate) fn assert_understood(&self, log: &Path) {
        assert_eq!(outline(log), self.expected, "{}", self.name);
    }
}

/// A captured request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Request {
    pub(crate) file: String,
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) content_encoding: Option<String>,
    transfer_encoding: Option<String>,
    #[serde(skip)]
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn is_chunked(&self) -> bool {
        self.transfer_encoding.is_some()
    }

    pub(crate) fn is_json(&self) -> bool {
        self.content_type == "application/json"
    }

    /// The same in JSON whose numbers are spelt by `spell`.
    pub(crate) fn with_integers(&self, spell: fn(i64) -> Value) -> Request {
        let mut json = serde_json::from_slice(&self.body).unwrap();
        spell_integers(&mut json, spell);
        Request { body: serde_json::to_vec(&json).unwrap(), ..self.clone() }
    }
}

fn spell_integers(json: &mut Value, spell: fn(i64) -> Value) {
    match json {
        Value::Array(items) => items.iter_mut().for_each(|item| spell_integers(item, spell)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_i64() {
                    Some(number) if name == "intValue" => *value = spell(number),
                    _ => spell_integers(value, spell),
                }
            }
        }
        _ => {}
    }
}

/// A folder of this repository.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A log that nobody appends to any more.
fn open(log: &Path) -> Connection {
    Connection::open_with_flags(log, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// How many events of a kind a log has.
pub(crate) fn count(log: &Path, kind: &str) -> i64 {
    open(log).query_row("SELECT count(*) FROM timeline WHERE kind = ?1", [kind], |row| row.get(0)).unwrap()
}

/// What was understood of a log's sessions, without times and without ids that are new in each run: the sessions as they began, the steps of each as
/// a tree, under each step what was decided and found there.
pub(crate) fn outline(log: &Path) -> String {
    let connection = open(log);
    let mut text = String::new();
    let sessions = rows(
        &connection,
        "SELECT id, concat_ws('  ', 'session', status, 'agent ' || agent, 'model ' || model,
                'conversation ' || iif(conversation_id GLOB '????????-????-????-????-????????????', '(UUID)',
                                       conversation_id), tokens_input || ' in', tokens_output || ' out',
                'error: ' || error, 'input: ' || replace(input, char(10), ' '))
         FROM sessions WHERE ?1 = ?1 ORDER BY started_at, first_seq",
        "",
    );
    for (session, line) in sessions {
        writeln!(text, "{line}").unwrap();
        steps(&connection, &session, "", 1, &mut text);
        told(&connection, &session, "", 1, &mut text);
    }
    text
}

fn steps(connection: &Connection, session: &str, parent: &str, depth: usize, text: &mut String) {
    let steps = rows(
        connection,
        &format!(
            "SELECT id, concat_ws('  ', module, kind, status, model, tokens_input || ' in', tokens_output || ' out',
                    'error: ' || error)
             FROM steps WHERE session_id = '{session}' AND coalesce(parent_step_id, '') = ?1
             ORDER BY started_at, ended_at, first_seq"
        ),
        parent,
    );
    for (step, line) in steps {
        writeln!(text, "{:1$}{line}", "", 2 * depth).unwrap();
        told(connection, session, &step, depth + 1, text);
        self::steps(connection, session, &step, depth + 1, text);
    }
}

/// What was decided and found in a step, or in a session outside of its steps.
fn told(connection: &Connection, session: &str, step: &str, depth: usize, text: &mut String) {
    let of_step = format!(
        "session_id = '{session}'
         AND iif(step_id IN (SELECT id FROM steps WHERE session_id = '{session}'), step_id, '') = ?1"
    );
    let told = rows(
        connection,
        &format!(
            "SELECT id, concat_ws('  ', 'decided ' || chosen_option, decision_type,
                    'of ' || json_array_length(options_considered), 'confidence ' || confidence)
             FROM decisions WHERE {of_step}
             UNION ALL
             SELECT id, concat_ws('  ', 'found ' || title, category, severity, outcome, 'confidence ' || confidence)
             FROM findings WHERE {of_step}
             ORDER BY 2"
        ),
        step,
    );
    for (_, line) in told {
        writeln!(text, "{:1$}{line}", "", 2 * depth).unwrap();
    }
}

fn rows(connection: &Connection, query: &str, parameter: &str) -> Vec<(String, String)> {
    let mut statement = connection.prepare(query).unwrap();
    let two = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    statement.query_map([parameter], two).unwrap().map(Result::unwrap).collect()
}
