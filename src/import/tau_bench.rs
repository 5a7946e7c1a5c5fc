//! Results of tau-bench: a JSON list of runs of an agent that serves a simulated customer.
//!
//! | in the file | as events |
//! | --- | --- |
//! | a run | a session `tau-bench/<source>/<task_id>-<trial>` |
//! | an assistant message with tool calls | a step of kind tool for each, ended by the tool messages that follow, in order, and a decision of type tool in it |
//! | an assistant message without tool calls | a step of kind llm, module `respond` |
//! | a reward other than 1 | a finding, and a session that failed |
//!
//! The input of a session is the first message of the customer. The prompt of the system is the policy of the shop, which
//! all runs have in common.
//!
//! Call ids repeat within a run, so calls and outputs are matched by their position; the ids are kept as attributes. A
//! decision has the id of its call if no other call of the run has it, and no options: the file does not name the tools
//! that the model was offered. A call without an output has begun and never ended. Messages that are neither input nor
//! output of a step are kept under `messages` of the event that follows them. The traces have no times.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::iter::Peekable;
use std::vec;

use serde::Serialize;

use super::emit::{Emitter, Scope, Sink};
use super::error::ImportError;
use super::fields::{Fields, Label, text_of};
use super::json_list::for_each_record;
use super::source::{Imported, Source};
use super::turn::Rationale;
use crate::limits::ID_BYTES_MAX;
use crate::{
    Attributes, DecisionMade, FindingRaised, Json, Outcome, SessionEnd, SessionEnded, SessionStarted,
    Severity, StepEnd, StepEnded, StepId, StepKind, StepStarted,
};

const FORMAT: &str = "tau-bench";

/// Largest distance from 1 at which a reward is still 1: the tolerance of tau-bench itself.
const REWARD_TOLERANCE: f64 = 1e-6;

/// Reads results of tau-bench.
///
/// # Errors
/// If the file is not a list of runs, a run has no usable `task_id`, `trial`, `reward` or `traj`, or the sink refuses a
/// draft. Drafts from before the error were handed over.
pub fn tau_bench(reader: impl Read, source: &Source, sink: &mut Sink<'_>) -> Result<Imported, ImportError> {
    let mut emitter = Emitter::new(sink);
    for_each_record(reader, "a JSON list of tau-bench runs", |record| {
        import_run(record, source, &mut emitter)
    })?;
    Ok(emitter.imported())
}

fn import_run(mut record: Fields, source: &Source, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
    let Label(task_id) = record.require("task_id")?;
    let Label(trial) = record.require("trial")?;
    let reward: f64 = record.require("reward")?;
    let messages = record.objects("traj")?.ok_or_else(|| record.error("traj", "is missing"))?;
    // Fields are taken out where they are used. The rest of each object becomes attributes.
    let mut info = match record.object("info")? {
        Some(info) => info,
        None => record.none("info"),
    };
    let mut task = match info.object("task")? {
        Some(task) => task,
        None => info.none("task"),
    };

    let scope = emitter.session(record.place().clone(), FORMAT, source, &format!("{task_id}-{trial}"))?;
    let messages = messages.into_iter().map(Message::of).collect::<Result<Vec<_>, _>>()?;
    let question = messages.iter().find(|message| message.role == "user");
    let question = question.and_then(|message| message.content.clone());
    let unique_ids = unique_ids(&messages);
    let mut labels =
        BTreeMap::from([("task_id".to_owned(), task_id.clone()), ("trial".to_owned(), trial.clone())]);
    labels.extend(task.text("user_id").map(|user| ("user_id".to_owned(), user)));
    let actions = task.json("actions");
    let mut attributes = record.rest();
    // Copied, because the actions are also evidence of the finding below.
    attributes.extend(actions.clone().map(|actions| ("info.task.actions".to_owned(), actions)));
    attributes.extend(task.rest_by_path());
    let started = SessionStarted {
        profile: Some(FORMAT.to_owned()),
        input: question,
        source: Some(source.name().to_owned()),
        labels,
        attributes,
        ..Default::default()
    };
    emitter.emit(&scope, "started", None, started)?;

    let mut run = Run { scope: &scope, emitter, unique_ids, steps: 0, unsaid: Vec::new() };
    run.import(messages.into_iter().peekable())?;
    let unsaid = run.unsaid;

    let reward_info = info.json("reward_info");
    let completed = (reward - 1.0).abs() <= REWARD_TOLERANCE;
    // The finding comes before the end of the session that it belongs to.
    if !completed {
        let evidence =
            Evidence { reward, expected_actions: actions.as_ref(), reward_info: reward_info.as_ref() };
        emitter.emit(&scope, "finding/1", None, finding(&scope, &task_id, &trial, &evidence)?)?;
    }
    let error = info.text("error");
    let mut attributes = Attributes::new();
    attributes.extend(info.json("user_cost").map(|cost| ("user_cost".to_owned(), cost)));
    attributes.extend(reward_info.map(|info| ("reward_info".to_owned(), info)));
    attributes.extend(info.rest_by_path());
    keep_messages(&scope, &mut attributes, unsaid)?;
    let ended = SessionEnded {
        status: if completed { SessionEnd::Completed } else { SessionEnd::Failed },
        scores: BTreeMap::from([("reward".to_owned(), reward)]),
        error,
        attributes,
        ..Default::default()
    };
    emitter.emit(&scope, "ended", None, ended)
}

/// The ids that one call of a run has, and no other.
fn unique_ids(messages: &[Message]) -> HashSet<String> {
    let (mut unique, mut seen) = (HashSet::new(), HashSet::new());
    for call in messages.iter().flat_map(|message| &message.calls) {
        let Some(id) = call.see("id").map(text_of) else { continue };
        if seen.insert(id.clone()) {
            unique.insert(id);
        } else {
            unique.remove(&id);
        }
    }
    unique
}

#[derive(Serialize)]
struct Evidence<'a> {
    reward: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_actions: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward_info: Option<&'a Json>,
}

fn finding(
    scope: &Scope,
    task_id: &str,
    trial: &str,
    evidence: &Evidence<'_>,
) -> Result<FindingRaised, ImportError> {
    Ok(FindingRaised {
        finding: scope.id("finding", "1")?,
        category: Some("task".to_owned()),
        pattern_type: Some("tau_bench.reward".to_owned()),
        severity: Some(Severity::High),
        outcome: Some(Outcome::Fail),
        title: Some(format!("Task {task_id} was not solved in trial {trial}")),
        description: Some(format!(
            "tau-bench rewarded trial {trial} of task {task_id} with {}, where 1 is success: the state of \
             the database, or what the customer was told, is not what the expected actions lead to.",
            evidence.reward
        )),
        plain_english: Some("The agent did not do what the customer's task called for.".to_owned()),
        evidence: Some(json(scope, "evidence", evidence)?),
        ..Default::default()
    })
}

fn json(scope: &Scope, field: &str, value: &impl Serialize) -> Result<Json, ImportError> {
    Json::of(value).map_err(|error| ImportError::Field {
        place: scope.place.clone(),
        field: field.to_owned(),
        reason: error.to_string(),
    })
}

fn keep_messages(
    scope: &Scope,
    attributes: &mut Attributes,
    messages: Vec<Message>,
) -> Result<(), ImportError> {
    if !messages.is_empty() {
        let messages: Vec<Json> = messages.into_iter().map(|message| message.raw).collect();
        attributes.insert("messages".to_owned(), json(scope, "traj", &messages)?);
    }
    Ok(())
}

/// A message of a trace.
struct Message {
    raw: Json,
    role: String,
    content: Option<String>,
    calls: Vec<Fields>,
    rest: Fields,
}

impl Message {
    fn of(mut fields: Fields) -> Result<Message, ImportError> {
        Ok(Message {
            raw: fields.raw().clone(),
            role: fields.require("role")?,
            content: fields.text("content"),
            calls: fields.objects("tool_calls")?.unwrap_or_default(),
            rest: fields,
        })
    }

    /// Returns true if role and content are all of the message.
    fn is_plain(&self) -> bool {
        self.calls.is_empty() && self.rest.is_empty()
    }
}

/// A trace on its way to the emitter.
struct Run<'a, 'e> {
    scope: &'a Scope,
    emitter: &'a mut Emitter<'e>,
    /// The ids of calls that are also those of decisions.
    unique_ids: HashSet<String>,
    steps: usize,
    /// Messages that are in no event yet.
    unsaid: Vec<Message>,
}

impl Run<'_, '_> {
    fn import(&mut self, mut messages: Peekable<vec::IntoIter<Message>>) -> Result<(), ImportError> {
        let mut before: Option<String> = None;
        while let Some(message) = messages.next() {
            let content = message.content.clone();
            match message.role.as_str() {
                "assistant" if message.calls.is_empty() => {
                    self.respond(message, before)?;
                    before = content;
                }
                "assistant" => {
                    let mut outputs = Vec::new();
                    // A call has one output at most: further messages of tools belong to no call.
                    while outputs.len() < message.calls.len()
                        && let Some(output) = messages.next_if(|message| message.role == "tool")
                    {
                        outputs.push(output);
                    }
                    // The next message answers the last output, or else the text beside the calls.
                    before = outputs.last().and_then(|output| output.content.clone()).or(content);
                    self.call_tools(message, outputs)?;
                }
                _ => {
                    self.unsaid.push(message);
                    before = content;
                }
            }
        }
        Ok(())
    }

    /// Emits a message to the customer: a step whose input is the message before it.
    fn respond(&mut self, message: Message, before: Option<String>) -> Result<(), ImportError> {
        // A plain message before this one is this step's input, and is kept nowhere else.
        if self.unsaid.last().is_some_and(|last| last.is_plain() && last.content == before) {
            self.unsaid.pop();
        }
        let mut attributes = message.rest.rest();
        keep_messages(self.scope, &mut attributes, std::mem::take(&mut self.unsaid))?;
        let step = self.begin(StepStarted {
            module: Some("respond".to_owned()),
            kind: Some(StepKind::Llm),
            input: before,
            attributes,
            ..Default::default()
        })?;
        self.end(StepEnded { step, status: StepEnd::Ok, output: message.content, ..Default::default() })
    }

    fn call_tools(&mut self, message: Message, outputs: Vec<Message>) -> Result<(), ImportError> {
        // The content of the message beside its calls goes to the first of them.
        let content = message.content.as_deref().filter(|text| !text.is_empty());
        let rationale = Rationale::of(content.as_slice());
        let mut beside = message.rest.rest();
        beside.extend(message.content.map(|content| ("content".to_owned(), Json::text(&content))));
        keep_messages(self.scope, &mut beside, std::mem::take(&mut self.unsaid))?;
        let mut outputs = outputs.into_iter();
        for mut call in message.calls {
            let mut function = match call.object("function")? {
                Some(function) => function,
                None => return Err(call.error("function", "is missing")),
            };
            let name: String = function.require("name")?;
            let input = function.text("arguments");
            let call_id = call.json("id");
            // Empty from the second call on.
            let mut attributes = std::mem::take(&mut beside);
            attributes.extend(call_id.clone().map(|id| ("tool_call_id".to_owned(), id)));
            // The only known type of call needs no attribute.
            let call_type = call.json("type").filter(|call_type| call_type.as_str() != "\"function\"");
            attributes.extend(call_type.map(|call_type| ("type".to_owned(), call_type)));
            attributes.extend(call.rest());
            let function = function.rest().into_iter();
            attributes.extend(function.map(|(name, json)| (format!("function.{name}"), json)));
            let step = self.begin(StepStarted {
                module: Some(name.clone()),
                kind: Some(StepKind::Tool),
                input: input.clone(),
                attributes,
                ..Default::default()
            })?;
            self.decide(&step, &name, call_id.as_ref(), input, &rationale)?;
            // Outputs have the order of the calls, and may be fewer.
            let Some(mut output) = outputs.next() else { continue };
            // The output repeats the call's id and name, which are kept only if they differ.
            let mut attributes = Attributes::new();
            let output_id = output.rest.json("tool_call_id").filter(|id| Some(id) != call_id.as_ref());
            attributes.extend(output_id.map(|id| ("tool_call_id".to_owned(), id)));
            let output_name = output.rest.text("name").filter(|output_name| *output_name != name);
            attributes.extend(output_name.map(|name| ("name".to_owned(), Json::text(&name))));
            attributes.extend(output.rest.rest());
            // The text is the only sign of an error.
            let error = output.content.clone().filter(|output| output.starts_with("Error"));
            self.end(StepEnded {
                step,
                status: if error.is_some() { StepEnd::Error } else { StepEnd::Ok },
                output: output.content,
                error,
                attributes,
                ..Default::default()
            })?;
        }
        Ok(())
    }

    /// Emits the decision for a tool. The model's message is no step of its own, so the call is the step.
    fn decide(
        &mut self,
        step: &StepId,
        name: &str,
        call_id: Option<&Json>,
        arguments: Option<String>,
        rationale: &Rationale,
    ) -> Result<(), ImportError> {
        let own = call_id.map(text_of).filter(|id| self.unique_ids.contains(id));
        let own = own.filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX);
        let decision = own.unwrap_or_else(|| format!("step/{step}"));
        let arguments = arguments.map(|text| text.parse().unwrap_or_else(|_| Json::text(&text)));
        let mut made = DecisionMade {
            decision: self.scope.id("tool_calls.id", &decision)?,
            step: Some(step.clone()),
            decision_type: Some("tool".to_owned()),
            chosen_option: Some(name.to_owned()),
            attributes: arguments.map(|json| ("arguments".to_owned(), json)).into_iter().collect(),
            ..Default::default()
        };
        rationale.put(&mut made);
        self.emitter.emit(self.scope, &format!("decision/{step}"), None, made)
    }

    fn begin(&mut self, started: StepStarted) -> Result<StepId, ImportError> {
        self.steps += 1;
        let step: StepId = self.scope.id("step", &self.steps.to_string())?;
        let started = StepStarted { step: step.clone(), ..started };
        self.emitter.emit(self.scope, &format!("step/{step}/started"), None, started)?;
        Ok(step)
    }

    fn end(&mut self, ended: StepEnded) -> Result<(), ImportError> {
        self.emitter.emit(self.scope, &format!("step/{}/ended", ended.step), None, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Location;
    use super::super::test_support::{all, collect, ids, real_data, source};
    use super::*;
    use crate::{Draft, Event};

    fn import(text: &str) -> (Vec<Draft>, Result<Imported, ImportError>) {
        collect(|sink| tau_bench(text.as_bytes(), &source(), sink))
    }

    // Three calls share one id, the second one fails, and the last one has no output.
    const RUN: &str = r#"[{"task_id": 3, "trial": 1, "reward": 0.0, "seed": 10,
        "info": {"source": "user", "user_cost": 0.10, "reward_info": {"reward": 0.0},
            "task": {"user_id": "mia", "actions": [{"name": "book"}], "instruction": "Buy it.", "outputs": []}},
        "traj": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello", "refusal": null},
            {"role": "user", "content": "Two, please"},
            {"role": "assistant", "content": "Looking", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{\"n\": 1}"}},
                {"id": "c", "type": "function", "function": {"name": "buy", "arguments": "{\"n\": 2}"}},
                {"id": "c", "type": "function", "function": {"name": "end", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "name": "find", "content": "found"},
            {"role": "tool", "tool_call_id": "c", "name": "buy", "content": "Error: sold out"},
            {"role": "user", "content": "Oh"},
            {"role": "user", "content": "Bye"}]}]"#;

    #[test]
    fn the_airline_results_have_the_known_counts() {
        let Some(file) = real_data("tau-bench-airline.json") else { return };
        let (drafts, result) = collect(|sink| tau_bench(file, &source(), sink));
        let imported = result.unwrap();
        assert_eq!((imported.sessions, imported.steps, imported.findings), (200, 2_454, 116));
        assert_eq!(imported.events, drafts.len() as u64);
        let of_kind = |kind| all!(drafts, StepStarted).iter().filter(|step| step.kind == Some(kind)).count();
        assert_eq!((of_kind(StepKind::Tool), of_kind(StepKind::Llm)), (1_164, 1_290));
        assert_eq!(all!(drafts, DecisionMade).len(), 1_164);
        let inputs: std::collections::BTreeSet<_> =
            all!(drafts, SessionStarted).iter().filter_map(|session| session.input.as_deref()).collect();
        assert!(inputs.len() > 100, "the customers do not all say the same: {}", inputs.len());
        let errors = all!(drafts, StepEnded).iter().filter(|step| step.status == StepEnd::Error).count();
        assert_eq!((errors, all!(drafts, StepEnded).len()), (73, 2_454));
        let ends = |end| all!(drafts, SessionEnded).iter().filter(|session| session.status == end).count();
        assert_eq!((ends(SessionEnd::Completed), ends(SessionEnd::Failed)), (84, 116));
        let known = ["content", "messages", "tool_call_id"];
        let mut attributes = all!(drafts, StepStarted).into_iter().flat_map(|step| step.attributes.keys());
        assert!(attributes.all(|name| known.contains(&name.as_str())));
        assert!(drafts.iter().all(|draft| draft.at.is_none()));
        let mut events: Vec<_> = drafts.iter().map(|draft| draft.id).collect();
        events.sort();
        events.dedup();
        assert_eq!(events.len(), drafts.len(), "every event has an id of its own");
    }

    #[test]
    fn a_second_import_makes_the_same_drafts() {
        assert_eq!(import(RUN).0, import(RUN).0);
        let Some(file) = real_data("tau-bench-airline.json") else { return };
        let first = collect(|sink| tau_bench(file, &source(), sink)).0;
        let Some(file) = real_data("tau-bench-airline.json") else { return };
        assert!(first == collect(|sink| tau_bench(file, &source(), sink)).0);
    }

    #[test]
    fn ids_do_not_come_from_content() {
        let mut other = RUN.to_owned();
        for (from, to) in [
            ("Hi", "Hey"),
            ("found", "none"),
            ("mia", "tom"),
            ("Buy it", "Sell it"),
            ("n\\\": 1", "n\\\": 7"),
        ] {
            assert!(other.contains(from), "{from}");
            other = other.replace(from, to);
        }
        let (drafts, others) = (import(RUN).0, import(&other).0);
        assert_ne!(drafts, others);
        assert_eq!(ids(&drafts), ids(&others));
    }

    #[test]
    fn calls_and_outputs_belong_together_by_position() {
        let (drafts, result) = import(RUN);
        let imported = result.unwrap();
        assert_eq!((imported.sessions, imported.steps, imported.findings), (1, 4, 1));
        let started = all!(drafts, StepStarted);
        let ended = all!(drafts, StepEnded);
        assert_eq!(started[0].input.as_deref(), Some("Hi"));
        assert_eq!(ended[0].output.as_deref(), Some("Hello"));
        assert_eq!(started[1].module.as_deref(), Some("find"));
        assert_eq!(started[1].input.as_deref(), Some("{\"n\": 1}"));
        assert_eq!(started[1].attributes["content"].as_str(), "\"Looking\"");
        assert_eq!(started[1].attributes["tool_call_id"].as_str(), "\"c\"");
        assert_eq!(ended[1].output.as_deref(), Some("found"));
        assert_eq!((ended[2].status, ended[2].error.as_deref()), (StepEnd::Error, Some("Error: sold out")));
        assert_eq!((started.len(), ended.len()), (4, 3), "a call without output has not ended");
    }

    #[test]
    fn a_call_is_a_decision_with_its_id_if_no_other_call_has_it() {
        let (drafts, _) = import(&RUN.replacen(r#"{"id": "c", "type""#, r#"{"id": "call_1", "type""#, 1));
        let decisions = all!(drafts, DecisionMade);
        let made: Vec<_> = decisions
            .iter()
            .map(|made| {
                (made.decision.as_str(), made.step.as_ref().unwrap().as_str(), made.chosen_option.as_deref())
            })
            .collect();
        assert_eq!(
            made,
            [("call_1", "2", Some("find")), ("step/3", "3", Some("buy")), ("step/4", "4", Some("end"))]
        );
        assert_eq!(decisions[0].decision_type.as_deref(), Some("tool"));
        assert_eq!(decisions[0].rationale.as_deref(), Some("Looking"));
        assert_eq!(decisions[0].attributes["arguments"].as_str(), "{\"n\": 1}");
        assert!(decisions[0].options_considered.is_empty());
    }

    #[test]
    fn nothing_that_the_file_says_is_lost() {
        let (drafts, _) = import(RUN);
        let session = all!(drafts, SessionStarted)[0];
        // The policy is the same for all customers, and so no input of this session.
        assert_eq!(session.input.as_deref(), Some("Hi"));
        assert_eq!(session.attributes["info.task.instruction"].as_str(), "\"Buy it.\"");
        let policy = all!(drafts, StepStarted)[0].attributes["messages"].as_str();
        assert_eq!(policy, r#"[{"role": "system", "content": "Be kind."}]"#);
        assert_eq!(session.labels["user_id"], "mia");
        assert_eq!(session.attributes["seed"].as_str(), "10");
        assert_eq!(session.attributes["info.task.outputs"].as_str(), "[]");
        assert_eq!(session.attributes["info.task.actions"].as_str(), r#"[{"name": "book"}]"#);
        let heard = all!(drafts, StepStarted)[1].attributes["messages"].as_str();
        assert_eq!(heard, r#"[{"role": "user", "content": "Two, please"}]"#);
        let end = all!(drafts, SessionEnded)[0];
        assert_eq!(end.attributes["user_cost"].as_str(), "0.10");
        assert_eq!(end.attributes["info.source"].as_str(), "\"user\"");
        assert!(end.attributes["messages"].as_str().contains("Bye"));
        let finding = all!(drafts, FindingRaised)[0];
        assert_eq!(
            finding.evidence.as_ref().unwrap().as_str(),
            r#"{"reward":0.0,"expected_actions":[{"name": "book"}],"reward_info":{"reward": 0.0}}"#
        );
    }

    #[test]
    fn the_finding_comes_before_the_end() {
        let (drafts, _) = import(RUN);
        let [.., finding, end] = drafts.as_slice() else { panic!("too few events") };
        assert!(matches!(finding.event, Event::FindingRaised(_)));
        assert!(matches!(end.event, Event::SessionEnded(_)));
    }

    #[test]
    fn a_run_that_broke_off_keeps_its_error() {
        let (drafts, _) =
            import(r#"[{"task_id": "a", "trial": 0, "reward": 0, "info": {"error": "boom"}, "traj": []}]"#);
        assert_eq!(all!(drafts, SessionEnded)[0].error.as_deref(), Some("boom"));
        assert_eq!(drafts[0].session.as_ref().unwrap().as_str(), "tau-bench/test/a-0");
    }

    #[test]
    fn an_error_names_record_and_field() {
        let good = r#"{"task_id": 0, "trial": 0, "reward": 1, "traj": []}"#;
        for (bad, field) in [
            (r#"{"trial": 0, "reward": 1, "traj": []}"#, "task_id"),
            (r#"{"task_id": 1.5, "trial": 0, "reward": 1, "traj": []}"#, "task_id"),
            (r#"{"task_id": 1, "trial": 0, "reward": "1", "traj": []}"#, "reward"),
            (r#"{"task_id": 1, "trial": 0, "reward": 1}"#, "traj"),
            (r#"{"task_id": 1, "trial": 0, "reward": 1, "traj": [{"role": "user"}, 3]}"#, "traj[1]"),
            (r#"{"task_id": 1, "trial": 0, "reward": 1, "traj": [{"content": "x"}]}"#, "traj[0].role"),
            (
                r#"{"task_id": 1, "trial": 0, "reward": 1, "traj": [{"role": "assistant", "tool_calls": [{}]}]}"#,
                "traj[0].tool_calls[0].function",
            ),
        ] {
            let (_, result) = import(&format!("[{good}, {bad}]"));
            match result.unwrap_err() {
                ImportError::Field { place, field: named, .. } => {
                    assert_eq!((place, named.as_str()), (Location::Record(1), field));
                }
                error => panic!("{bad}: {error}"),
            }
        }
        let (drafts, result) = import(&format!("[{good}, {good}]"));
        assert!(matches!(result, Err(ImportError::Repeated { place: Location::Record(1), .. })));
        assert_eq!(drafts.len(), 2, "what came before stays");
    }

    #[test]
    fn a_source_name_that_makes_ids_too_long_is_an_error() {
        let long = Source::new("x".repeat(120)).unwrap();
        let (_, result) = collect(|sink| tau_bench(RUN.as_bytes(), &long, sink));
        assert!(matches!(result, Err(ImportError::SessionId { .. })));
    }

    #[test]
    fn an_error_of_the_sink_ends_the_import() {
        let result = tau_bench(RUN.as_bytes(), &source(), &mut |_| Err("full".into()));
        assert!(matches!(result, Err(ImportError::Sink(error)) if error.to_string() == "full"));
    }
}
