//! Released instrumented programs, sending to a server with keys. `tools/test` installs them, and names where in
//! `ANNALS_TEST_CLIENTS`; without that, `tests/serve/otlp_fixtures.rs` alone sends what they once sent. Coding agents and
//! agents of many frameworks are large: `tools/test --heavy` alone installs and runs them.

use crate::support::otlp;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::support::otlp::{Client, folder};
use crate::support::server::Served;
use crate::support::{is_heavy, new_path};
use annals::query::EventFilter;
use annals::{Reader, Seq};
use assert_cmd::Command;
use serde_json::Value;

/// Longer than any of the programs takes, on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(900);

/// Where the programs are installed.
fn installed() -> Option<PathBuf> {
    let installed = std::env::var_os("ANNALS_TEST_CLIENTS").map(PathBuf::from);
    if installed.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ANNALS_TEST_CLIENTS is not set");
        println!("skipped: ANNALS_TEST_CLIENTS does not say where the instrumented programs are installed");
    }
    installed
}

/// What a user sets, and nothing else of this environment.
struct Environment<'a> {
    endpoint: &'a str,
    key: &'a str,
    further: &'a [(&'a str, &'a str)],
}

/// Returns true for a program that is installed with `--heavy` alone.
fn is_agent(client: &Client) -> bool {
    otlp::AGENTS.iter().any(|agent| agent.name == client.name)
}

/// The virtual environment that has what a program in Python needs.
fn environment_of(client: &Client) -> &'static str {
    if is_agent(client) { "agents" } else { "python" }
}

/// Where a program's packages of Node are, below the folder in which all are installed.
fn modules(client: &Client) -> &'static str {
    if is_agent(client) { "agents-node/node_modules" } else { "node/node_modules" }
}

fn run(client: &Client, installed: &Path, environment: &Environment<'_>) -> Output {
    let (script, arguments) = client.program.split_first().unwrap();
    let script = folder("tests/clients").join(script);
    let mut command = if client.program[0].starts_with("python/") {
        let mut command = Command::new(installed.join(environment_of(client)).join("bin/python"));
        command.arg("-B");
        command
    } else {
        Command::new("node")
    };
    command
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("NODE_PATH", installed.join(modules(client)))
        .env("OTEL_SERVICE_NAME", "weather-desk")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", environment.endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("Authorization=Bearer%20{}", environment.key))
        .envs(client.environment.iter().copied())
        .envs(environment.further.iter().copied());
    command.timeout(LIMIT).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the command says of a log, in JSON, where it ends well.
fn annals(log: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["--json", "--db"])
        .arg(log)
        .args(arguments)
        .env("ANNALS_HOME", log.with_file_name("home"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A key of a log with one scope.
fn key(log: &Path, scope: &str) -> String {
    let created = annals(log, &["apikey", "create", "--name", scope, "--scopes", scope]);
    created["key"].as_str().unwrap().to_owned()
}

/// Runs a program against a server, and holds the log against what it sent.
fn assert_recorded(client: &Client, transport: &str, further: &[(&str, &str)]) {
    let Some(installed) = installed() else { return };
    if is_agent(client) && !is_heavy() {
        println!("skipped: {} is installed and run with tools/test --heavy alone", client.name);
        return;
    }
    let (_folder, log) = new_path();
    let key = key(&log, "emit");
    let served = Served::start_with(&log, &["--grpc", "127.0.0.1:0"]);
    let endpoint = served.announced[transport][0].as_str().unwrap();
    let output = run(client, &installed, &Environment { endpoint, key: &key, further });
    assert!(output.status.success(), "{}", said(&output));
    if client.program[0].starts_with("python/") {
        let sent = format!("sent {} spans and {} log records\n", client.spans, client.log_records);
        assert_eq!(String::from_utf8_lossy(&output.stdout), sent);
    }
    served.stop();
    if client.program[0].starts_with("node/agents/") {
        client.assert_understood(&log);
    } else {
        client.assert_recorded(&log);
    }
    assert_eq!(nameless(&log), 0, "events that do not say whose key they were sent with");
    annals(&log, &["verify"]);
}

/// How many spans and log records do not say whose key they were sent with.
fn nameless(log: &Path) -> usize {
    let events = Reader::open(log).unwrap().events(&EventFilter::ALL, Seq::ZERO, 1000).unwrap();
    let sent = events.iter().filter(|event| event.kind_name().starts_with("otel."));
    sent.filter(|event| event.principal.is_none()).count()
}

#[test]
fn langchain_under_openinference() {
    assert_recorded(&otlp::LANGCHAIN_OPENINFERENCE, "http", &[]);
}

#[test]
fn langchain_under_traceloop() {
    assert_recorded(&otlp::LANGCHAIN_TRACELOOP, "http", &[]);
}

#[test]
fn pydantic_ai() {
    assert_recorded(&otlp::PYDANTIC_AI, "http", &[]);
}

#[test]
fn pydantic_ai_with_its_oldest_names() {
    assert_recorded(&otlp::PYDANTIC_AI_V2, "http", &[]);
}

#[test]
fn two_runs_of_an_agent_whose_calls_have_the_same_id() {
    assert_recorded(&otlp::PYDANTIC_AI_TWICE, "http", &[]);
}

#[test]
fn the_openai_client_under_openinference() {
    assert_recorded(&otlp::OPENAI_OPENINFERENCE, "http", &[]);
}

#[test]
fn evaluations_guardrails_and_decisions() {
    assert_recorded(&otlp::EVALUATIONS, "http", &[]);
}

#[test]
fn the_conventions_for_generative_ai_by_hand() {
    assert_recorded(&otlp::GENAI_EVENTS, "http", &[]);
}

#[test]
fn a_conversation_of_several_traces() {
    assert_recorded(&otlp::CONVERSATION, "http", &[]);
}

#[test]
fn node_under_opentelemetry() {
    assert_recorded(&otlp::NODE_OPENAI_OTEL, "http", &[]);
}

#[test]
fn node_under_opentelemetry_with_json() {
    assert_recorded(&otlp::NODE_OPENAI_OTEL_JSON, "http", &[]);
}

#[test]
fn node_under_openinference() {
    assert_recorded(&otlp::NODE_OPENAI_OPENINFERENCE, "http", &[]);
}

#[test]
fn node_under_openinference_with_json() {
    assert_recorded(&otlp::NODE_OPENAI_OPENINFERENCE_JSON, "http", &[]);
}

#[test]
fn strands() {
    assert_recorded(&otlp::STRANDS, "http", &[]);
}

#[test]
fn strands_with_the_present_conventions() {
    assert_recorded(&otlp::STRANDS_LATEST, "http", &[]);
}

#[test]
fn openai_agents_under_openinference() {
    assert_recorded(&otlp::OPENAI_AGENTS_OPENINFERENCE, "http", &[]);
}

#[test]
fn openai_agents_under_traceloop() {
    assert_recorded(&otlp::OPENAI_AGENTS_TRACELOOP, "http", &[]);
}

#[test]
fn openai_agents_under_opentelemetry() {
    assert_recorded(&otlp::OPENAI_AGENTS_OTEL, "http", &[]);
}

#[test]
fn openai_agents_under_logfire() {
    assert_recorded(&otlp::OPENAI_AGENTS_LOGFIRE, "http", &[]);
}

#[test]
fn google_adk() {
    assert_recorded(&otlp::GOOGLE_ADK, "http", &[]);
}

#[test]
fn google_adk_with_the_present_conventions() {
    assert_recorded(&otlp::GOOGLE_ADK_LATEST, "http", &[]);
}

#[test]
fn google_adk_over_litellm() {
    assert_recorded(&otlp::GOOGLE_ADK_LITELLM, "http", &[]);
}

#[test]
fn smolagents_under_openinference() {
    assert_recorded(&otlp::SMOLAGENTS_OPENINFERENCE, "http", &[]);
}

#[test]
fn agent_framework() {
    assert_recorded(&otlp::AGENT_FRAMEWORK, "http", &[]);
}

#[test]
fn the_openai_client_under_opentelemetry() {
    assert_recorded(&otlp::OPENAI_OTEL, "http", &[]);
}

#[test]
fn langfuse() {
    assert_recorded(&otlp::LANGFUSE, "http", &[]);
}

#[test]
fn the_vercel_ai_sdk_5() {
    assert_recorded(&otlp::VERCEL_AI_5, "http", &[]);
}

#[test]
fn the_vercel_ai_sdk_6() {
    assert_recorded(&otlp::VERCEL_AI_6, "http", &[]);
}

#[test]
fn the_vercel_ai_sdk_7() {
    assert_recorded(&otlp::VERCEL_AI_7, "http", &[]);
}

#[test]
fn the_vercel_ai_sdk_7_with_the_spans_of_earlier_versions() {
    assert_recorded(&otlp::VERCEL_AI_7_LEGACY, "http", &[]);
}

#[test]
fn codex() {
    assert_recorded(&otlp::CODEX, "http", &[]);
}

#[test]
fn claude_code() {
    assert_recorded(&otlp::CLAUDE_CODE, "http", &[]);
}

#[test]
fn claude_code_with_its_traces() {
    assert_recorded(&otlp::CLAUDE_CODE_SPANS, "http", &[]);
}

#[test]
fn gemini_cli() {
    assert_recorded(&otlp::GEMINI_CLI, "http", &[]);
}

#[test]
fn gemini_cli_with_messages_in_its_traces() {
    assert_recorded(&otlp::GEMINI_CLI_SPANS, "http", &[]);
}

#[test]
fn the_javascript_sdk_of_langfuse() {
    assert_recorded(&otlp::LANGFUSE_JS, "http", &[]);
}

#[test]
fn langgraph_in_node_under_openinference() {
    assert_recorded(&otlp::LANGGRAPH_JS, "http", &[]);
}

#[test]
fn the_javascript_sdk_of_langsmith() {
    assert_recorded(&otlp::LANGSMITH_JS, "http", &[]);
}

#[test]
fn gemini_cli_over_grpc() {
    let over_grpc = Client { program: &["node/agents/gemini_cli.cjs", "grpc"], ..otlp::GEMINI_CLI };
    assert_recorded(&over_grpc, "grpc", &[]);
}

const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");

#[test]
fn langchain_over_grpc() {
    assert_recorded(&otlp::LANGCHAIN_OPENINFERENCE, "grpc", &[GRPC]);
}

#[test]
fn spans_and_log_records_over_grpc_with_gzip() {
    assert_recorded(&otlp::GENAI_EVENTS, "grpc", &[GRPC, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
}

#[test]
fn node_over_grpc() {
    assert_recorded(&otlp::NODE_OPENAI_OTEL, "grpc", &[GRPC]);
}

#[test]
fn each_span_that_a_collector_took_is_recorded_once_whatever_befalls_the_server() {
    let Some(installed) = installed() else { return };
    if !is_heavy() {
        println!("skipped: the collector is installed and run with tools/test --heavy alone");
        return;
    }
    let output = Command::new(installed.join("agents/bin/python"))
        .arg("-B")
        .arg(folder("tests/clients/python/collector.py"))
        .arg(env!("CARGO_BIN_EXE_annals"))
        .timeout(LIMIT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let cases: Vec<String> = ["undisturbed", "refused", "killed"]
        .iter()
        .map(|case| format!("{case}: 200 spans, each once\n"))
        .collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), cases.concat());
}

#[test]
fn a_program_whose_key_may_not_emit_is_told_so() {
    let Some(installed) = installed() else { return };
    for (transport, further) in [("http", &[][..]), ("grpc", &[GRPC][..])] {
        let (_folder, log) = new_path();
        let key = key(&log, "read");
        let served = Served::start_with(&log, &["--grpc", "127.0.0.1:0"]);
        let endpoint = served.announced[transport][0].as_str().unwrap();
        let output = run(&otlp::EVALUATIONS, &installed, &Environment { endpoint, key: &key, further });
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        served.stop();
        assert_eq!(otlp::count(&log, "otel.span"), 0);
    }
}
