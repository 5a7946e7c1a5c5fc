//! The lines of one session, on their way to the emitter.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::super::emit::{Emitter, Scope};
use super::super::error::ImportError;
use super::super::fields::{Fields, Item, text_of};
use super::super::tools::Offered;
use super::super::turn::{self, Answering, Chooser, PendingInput, Problem, ToolCall, Usage, json_of};
use super::line::{FORMAT, Line, note};
use crate::{
    Attributes, Json, NoteLogged, Outcome, SessionEnd, SessionEnded, SessionStarted, Severity, StepEnd,
    StepEnded, StepId, StepKind, StepStarted, Timestamp,
};

/// Fields that all lines of a session have in common, as a rule. Those of the first line are attributes of the session,
/// and a line that repeats one does not keep it.
const COMMON: [&str; 6] = ["cwd", "gitBranch", "version", "userType", "entrypoint", "slug"];

/// The model of messages that no model wrote.
const SYNTHETIC: &str = "<synthetic>";

/// Texts of users that no user wrote: Claude Code puts them in when a user stops it.
const INTERRUPTED: &str = "[Request interrupted by user]";
const INTERRUPTED_AT_TOOL: &str = "[Request interrupted by user for tool use]";

/// Beginnings of the result of a tool that a user, or a rule, did not allow.
const REJECTED: [&str; 3] = [
    "The user doesn't want to proceed with this tool use",
    "The user doesn't want to take this action right now",
    "Permission for this tool use was denied",
];

/// Beginnings of texts that Claude Code puts into a user's messages.
const COMMANDS: [&str; 2] = ["<command-name>", "<command-message>"];
const NOT_ASKED: [&str; 6] = [
    "<local-command-",
    "<bash-",
    "<system-reminder>",
    "<task-notification>",
    "<user-memory-input>",
    "Caveat: The messages below",
];

/// Most sidechains that may be under way, the lines of each that are remembered to find its next line, and the calls of
/// agents that may be.
const SIDECHAINS_MAX: usize = 64;
const RECENT_MAX: usize = 64;
const AGENT_CALLS_MAX: usize = 64;

/// A session whose lines are being read.
pub(super) struct Session {
    id: String,
    scope: Scope,
    begin: Begin,
    common: Attributes,
    main: Chain,
    sidechains: VecDeque<Chain>,
    /// Calls of agents whose sidechains are not known yet.
    agent_calls: VecDeque<AgentCall>,
    last_key: String,
    last_at: Option<Timestamp>,
    /// True if the last turn of the main chain was stopped.
    is_aborted: bool,
}

/// The beginning of the session: it is emitted once the first answer tells the model.
enum Begin {
    /// No line of the main chain was read.
    Unseen,
    Waiting(Beginning),
    Emitted,
}

struct Beginning {
    key: String,
    at: Option<Timestamp>,
    question: Option<String>,
    command: Option<String>,
}

/// A chain of messages: that of the session, or a sidechain with its agent.
#[derive(Default)]
struct Chain {
    agent: Option<Agent>,
    pending: PendingInput,
    message: Option<Message>,
    /// The output of the last answer.
    output: Option<String>,
    /// The last answer that has words: the summary of the session.
    words: Option<String>,
    last_at: Option<Timestamp>,
    last_key: String,
}

struct Agent {
    id: String,
    step: StepId,
    /// The call that it answers, if that is known.
    call: Option<StepId>,
    /// The `uuid`s of its last lines, by which a line without an `agentId` finds its chain.
    recent: VecDeque<String>,
}

struct AgentCall {
    step: StepId,
    prompt: String,
    kind: Option<String>,
}

/// An answer of which further lines may come.
struct Message {
    id: String,
    answering: Answering,
    has_calls: bool,
}

impl Session {
    pub(super) fn new(line: &Line, id: &str) -> Result<Session, ImportError> {
        Ok(Session {
            id: id.to_owned(),
            scope: Scope::of(line.place.clone(), &format!("{FORMAT}/{id}"))?,
            begin: Begin::Unseen,
            common: Attributes::new(),
            main: Chain::default(),
            sidechains: VecDeque::new(),
            agent_calls: VecDeque::new(),
            last_key: line.key.clone(),
            last_at: None,
            is_aborted: false,
        })
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id
    }

    /// Takes a line, which is emitted as far as later lines cannot change it.
    pub(super) fn take(&mut self, mut line: Line, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        self.scope = self.scope.at(&line.place);
        self.last_key.clone_from(&line.key);
        self.last_at = line.at.or(self.last_at);
        let is_sidechain = line.fields.take("isSidechain")?.unwrap_or(false);
        if !is_sidechain && matches!(line.kind.as_str(), "user" | "assistant" | "system") {
            self.see_begin(&line);
        }
        match line.kind.as_str() {
            "user" => self.user(line, is_sidechain, emitter),
            "assistant" => self.assistant(line, is_sidechain, emitter),
            _ => self.other(line, is_sidechain, emitter),
        }
    }

    fn see_begin(&mut self, line: &Line) {
        if let Begin::Unseen = self.begin {
            self.common = COMMON
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), line.fields.see(name)?.clone())))
                .collect();
            self.begin = Begin::Waiting(Beginning {
                key: line.key.clone(),
                at: line.at,
                question: None,
                command: None,
            });
        }
    }

    /// Emits the beginning, if it was not emitted yet.
    fn begin(&mut self, model: Option<&String>, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let Begin::Waiting(beginning) = &mut self.begin else { return Ok(()) };
        let label = |name: &str| self.common.get(name).map(text_of).filter(|text| !text.is_empty());
        let labels = [("cwd", label("cwd")), ("git_branch", label("gitBranch"))];
        let started = SessionStarted {
            profile: Some(FORMAT.to_owned()),
            input: beginning.question.take().or(beginning.command.take()),
            conversation: Some(self.id.clone()),
            agent: Some("Claude Code".to_owned()),
            agent_version: label("version"),
            model: model.cloned(),
            source: Some(FORMAT.to_owned()),
            labels: labels
                .into_iter()
                .filter_map(|(name, text)| Some((name.to_owned(), text?)))
                .collect::<BTreeMap<_, _>>(),
            attributes: self.common.clone(),
            ..Default::default()
        };
        // Named by the line that completes it, too: without any answer, another one may complete it later.
        let what = format!("{}/started/{}", beginning.key, self.last_key);
        let at = beginning.at;
        self.begin = Begin::Emitted;
        emitter.emit(&self.scope, &what, at, started)
    }

    /// The fields that nobody took, without those that the session has in common.
    fn rest(&self, fields: Fields) -> Attributes {
        let mut rest = fields.rest();
        // In a file of sidechains alone nothing is common: there is no session's beginning that would have it.
        rest.retain(|name, json| self.common.get(name) != Some(json));
        rest
    }

    fn other(
        &mut self,
        line: Line,
        is_sidechain: bool,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let Line { place, key, kind, at, fields, .. } = line;
        let is_error = fields.see("subtype").map(text_of).as_deref() == Some("api_error");
        let evidence = fields.see("error").filter(|_| is_error).cloned();
        let mut note = note(&place, &kind, fields)?;
        if is_sidechain {
            note.attributes.insert("isSidechain".to_owned(), Json::written("true".to_owned()));
        }
        emitter.emit(&self.scope, &format!("{key}/note"), at, note)?;
        if is_error {
            // The request is sent again, so it is no step of its own.
            let problem = Problem { severity: Severity::Medium, evidence, ..api_error(None) };
            turn::raise(emitter, &self.scope, &key, at, problem)?;
        }
        Ok(())
    }

    fn user(&mut self, line: Line, is_sidechain: bool, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let Line { key, at, mut fields, .. } = line;
        let mut message = fields.object("message")?.ok_or_else(|| fields.error("message", "is missing"))?;
        message.drop_usual("role", "user");
        let items = message.items("content")?;
        let flag = |name: &str| fields.see(name).is_some_and(|json| json.as_str() == "true");
        let is_summary = flag("isCompactSummary");
        let is_asked = !flag("isMeta") && !is_summary;
        let uuid = fields.see("uuid").map(text_of);
        let parent = fields.see("parentUuid").map(text_of);
        let agent_id: Option<String> = if is_sidechain { fields.take("agentId")? } else { None };
        let outcome = fields.json("toolUseResult");

        let (mut texts, mut results, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Text(text) => texts.push(text),
                Item::Object(mut block) => match block.require::<String>("type")?.as_str() {
                    "text" => {
                        texts.push(block.require("text")?);
                        if !block.is_empty() {
                            others.push(block.raw().clone());
                        }
                    }
                    "tool_result" => results.push(block),
                    _ => others.push(block.raw().clone()),
                },
            }
        }
        let text = texts.join("\n");
        let chain = match is_sidechain {
            true => Some(self.sidechain(agent_id, uuid, parent, &key, at, Some(&text), emitter)?),
            false => None,
        };

        let mut rest = self.rest(fields);
        rest.extend(message.rest_by_path());
        let is_result = !results.is_empty();
        for block in results {
            let mut attributes = std::mem::take(&mut rest);
            attributes.extend(outcome.clone().map(|outcome| ("toolUseResult".to_owned(), outcome)));
            self.result(block, attributes, outcome.as_ref(), chain, &key, at, emitter)?;
        }
        if is_result && texts.is_empty() && others.is_empty() {
            return Ok(());
        }
        if !is_result {
            rest.extend(outcome.map(|outcome| ("toolUseResult".to_owned(), outcome)));
        }

        if !others.is_empty() {
            rest.insert("content".to_owned(), json_of(&self.scope.place, "message.content", &others)?);
        }
        let message = if text.is_empty() { "user".to_owned() } else { text.clone() };
        let kind = if is_summary { "compact_summary" } else { "user" };
        let note = NoteLogged {
            message,
            step: self.chain(chain).agent.as_ref().map(|agent| agent.step.clone()),
            data: Some(json_of(&self.scope.place, "line", &rest)?),
            attributes: [("type".to_owned(), Json::text(kind))].into(),
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/note"), at, note)?;
        match text.trim() {
            INTERRUPTED | INTERRUPTED_AT_TOOL => self.interrupted(chain, &text, &key, at, emitter),
            _ if is_asked && !text.is_empty() => {
                if chain.is_none() {
                    self.is_aborted = false;
                    self.asked(&text);
                }
                self.chain(chain).pending.add(Some(text), at);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Remembers the first question of a person, which is the input of the session.
    fn asked(&mut self, text: &str) {
        let Begin::Waiting(beginning) = &mut self.begin else { return };
        let begins =
            |beginnings: &[&str]| beginnings.iter().any(|begin| text.trim_start().starts_with(begin));
        if begins(&COMMANDS) {
            beginning.command.get_or_insert_with(|| text.to_owned());
        } else if !begins(&NOT_ASKED) {
            beginning.question.get_or_insert_with(|| text.to_owned());
        }
    }

    fn interrupted(
        &mut self,
        chain: Option<usize>,
        text: &str,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        if chain.is_none() {
            self.is_aborted = true;
        }
        let mut step = None;
        // An answer that asked for tools was complete, and the tool was stopped.
        if text.trim() == INTERRUPTED
            && let scope = self.scope.clone()
            && let Some(message) = self.chain(chain).message.as_mut().filter(|message| !message.has_calls)
        {
            message.answering.error = Some(text.trim().to_owned());
            message.answering.follow(&scope, key, None);
            step = Some(message.answering.step.clone());
        }
        let problem = Problem {
            category: "interruption",
            pattern_type: "claude_code.interrupted",
            severity: Severity::Medium,
            outcome: Outcome::Warning,
            title: "A person stopped the turn",
            plain_english: "A person stopped the agent before it was done.",
            description: Some(text.trim().to_owned()),
            evidence: None,
            step,
        };
        turn::raise(emitter, &self.scope, key, at, problem)
    }

    /// Ends the step of a tool.
    #[allow(clippy::too_many_arguments, reason = "each comes from a different part of the line")]
    fn result(
        &mut self,
        mut block: Fields,
        mut attributes: Attributes,
        outcome: Option<&Json>,
        chain: Option<usize>,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        /// The known facts about the results of all tools.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Known {
            #[serde(rename = "agentId")]
            agent_id: Option<String>,
            interrupted: Option<bool>,
        }

        let id: String = block.require("tool_use_id")?;
        let step: StepId = self.scope.id("tool_use_id", &id)?;
        let is_error = block.take("is_error")?.unwrap_or(false);
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for item in block.items("content")? {
            match item {
                Item::Text(text) => texts.push(text),
                Item::Object(mut part) => {
                    part.drop_usual("type", "text");
                    texts.extend(part.text("text"));
                    if !part.is_empty() {
                        others.push(part.raw().clone());
                    }
                }
            }
        }
        if !others.is_empty() {
            attributes.insert("content".to_owned(), json_of(&self.scope.place, "content", &others)?);
        }
        attributes.extend(block.rest());
        // Its form differs from tool to tool, and most have neither field.
        let known: Known =
            outcome.and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default();
        let output = (!texts.is_empty()).then(|| texts.join("\n"));
        let text = output.as_deref().unwrap_or_default();
        let is_rejected = is_error && REJECTED.iter().any(|begin| text.starts_with(begin));
        let error = match (is_error, known.interrupted) {
            (true, _) => Some(text.to_owned()),
            (false, Some(true)) => Some("interrupted".to_owned()),
            (false, _) => None,
        };
        let ended = StepEnded {
            step: step.clone(),
            status: if error.is_some() { StepEnd::Error } else { StepEnd::Ok },
            output: output.clone(),
            error,
            attributes,
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/step/{id}/ended"), at, ended)?;
        if is_rejected {
            let problem = Problem {
                category: "rejection",
                pattern_type: "claude_code.tool_rejected",
                severity: Severity::Medium,
                outcome: Outcome::Fail,
                title: "A tool call was rejected",
                plain_english: "The agent was not allowed to use the tool that it chose.",
                description: output.clone(),
                evidence: None,
                step: Some(step.clone()),
            };
            turn::raise(emitter, &self.scope, &format!("{key}/{id}"), at, problem)?;
        }
        self.chain(chain).pending.add(output, at);
        self.agent_done(&step, known.agent_id, key, emitter)
    }

    /// Connects an agent with the call that it answered, and ends its chain.
    fn agent_done(
        &mut self,
        call: &StepId,
        agent_id: Option<String>,
        key: &str,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        self.agent_calls.retain(|open| open.step != *call);
        let answers =
            |chain: &Chain| chain.agent.as_ref().is_some_and(|agent| agent.call.as_ref() == Some(call));
        if let Some(chain) =
            self.sidechains.iter().position(answers).and_then(|index| self.sidechains.remove(index))
        {
            return chain.end(&self.scope, emitter);
        }
        let Some(agent_id) = agent_id else { return Ok(()) };
        // Its lines are in a file of their own, which does not name the call.
        let started = StepStarted {
            step: self.scope.id("toolUseResult.agentId", &format!("agent/{agent_id}"))?,
            parent_step: Some(call.clone()),
            kind: Some(StepKind::Agent),
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/agent/{agent_id}"), None, started)
    }

    fn assistant(
        &mut self,
        line: Line,
        is_sidechain: bool,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let Line { key, at, mut fields, .. } = line;
        let mut message = fields.object("message")?.ok_or_else(|| fields.error("message", "is missing"))?;
        let is_error = fields.take("isApiErrorMessage")?.unwrap_or(false);
        let uuid = fields.see("uuid").map(text_of);
        let parent = fields.see("parentUuid").map(text_of);
        let agent_id: Option<String> = if is_sidechain { fields.take("agentId")? } else { None };
        let (mut texts, mut calls, mut results, mut others) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for item in message.items("content")? {
            match item {
                Item::Text(text) => texts.push(Said::Text(text)),
                Item::Object(mut block) => match block.require::<String>("type")?.as_str() {
                    "text" => {
                        texts.push(Said::Text(block.require("text")?));
                        if !block.is_empty() {
                            others.push(block.rest());
                        }
                    }
                    "thinking" => {
                        texts.push(Said::Thinking(block.require("thinking")?));
                        if !block.is_empty() {
                            others.push(block.rest());
                        }
                    }
                    "tool_use" | "server_tool_use" | "mcp_tool_use" => calls.push(block),
                    kind if block.see("tool_use_id").is_some() => {
                        block.put("type", Json::text(kind));
                        results.push(block);
                    }
                    kind => {
                        block.put("type", Json::text(kind));
                        others.push(block.rest());
                    }
                },
            }
        }
        let model: Option<String> = message.take("model")?;
        if model.as_deref() == Some(SYNTHETIC) && !is_error {
            return self.unanswered(texts, message, fields, &key, at, emitter);
        }
        let model = match model {
            Some(synthetic) if synthetic == SYNTHETIC => {
                message.put("model", Json::text(SYNTHETIC));
                None
            }
            model => model,
        };
        let chain = match is_sidechain {
            true => Some(self.sidechain(agent_id, uuid, parent, &key, at, None, emitter)?),
            false => None,
        };
        if chain.is_none() {
            self.is_aborted = false;
            self.begin(model.as_ref(), emitter)?;
        }
        let id: Option<String> = message.take("id")?;
        let id = id.or_else(|| fields.see("requestId").map(text_of)).unwrap_or_else(|| key.clone());

        let usage = message.object("usage")?;
        let usage = match usage {
            Some(mut usage) => {
                let counted = Usage {
                    tokens_input: usage.take("input_tokens")?,
                    tokens_output: usage.take("output_tokens")?,
                    tokens_cache_read: usage.take("cache_read_input_tokens")?,
                    tokens_cache_write: usage.take("cache_creation_input_tokens")?,
                    ..Default::default()
                };
                Some((counted.with_cache_apart(), usage.raw().clone()))
            }
            None => None,
        };

        // An error of the answer before must not take this line with it.
        let before = self.answer(chain, &id, model, at, &key, emitter);
        let stop_reason = message.json("stop_reason");
        message.drop_usual("role", "assistant");
        message.drop_usual("type", "message");
        let mut rest = self.rest(fields);
        rest.extend(message.rest_by_path());
        if !others.is_empty() {
            rest.insert("content".to_owned(), json_of(&self.scope.place, "message.content", &others)?);
        }
        let scope = self.scope.clone();
        let Some(Message { answering, has_calls, .. }) = &mut self.chain(chain).message else {
            return before;
        };
        answering.line(&scope, &key, at, texts.iter().map(Said::len).sum(), rest)?;
        // Each line repeats it, and only the last one is complete.
        if let Some((counted, raw)) = usage {
            answering.usage = counted;
            answering.attributes.insert("usage".to_owned(), raw);
        }
        if let Some(reason) = stop_reason {
            answering.attributes.insert("stop_reason".to_owned(), reason);
        }
        let text = texts.iter().map(Said::text).collect::<Vec<_>>().join("\n");
        for said in texts {
            match said {
                Said::Text(text) => answering.answer.text(text),
                Said::Thinking(text) => answering.answer.reasoning(text),
            }
        }
        *has_calls |= !calls.is_empty();
        let step = answering.step.clone();
        if is_error {
            answering.error = Some(text.clone());
            let evidence = answering.see("error").cloned();
            let problem = Problem { description: Some(text), evidence, ..api_error(Some(step.clone())) };
            turn::raise(emitter, &scope, &key, at, problem)?;
        }
        for block in calls {
            self.call(block, chain, &key, at, emitter)?;
        }
        for block in results {
            self.result(block, Attributes::new(), None, chain, &key, at, emitter)?;
        }
        before
    }

    /// Emits a message that Claude Code wrote in the place of an answer.
    fn unanswered(
        &mut self,
        texts: Vec<Said>,
        message: Fields,
        fields: Fields,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let text = texts.iter().map(Said::text).collect::<Vec<_>>().join("\n");
        let mut rest = self.rest(fields);
        rest.insert("message".to_owned(), message.raw().clone());
        let note = NoteLogged {
            message: if text.is_empty() { "assistant".to_owned() } else { text },
            data: Some(json_of(&self.scope.place, "line", &rest)?),
            attributes: [("type".to_owned(), Json::text("assistant"))].into(),
            ..Default::default()
        };
        emitter.emit(&self.scope, &format!("{key}/note"), at, note)
    }

    /// Goes on with the answer that has this id: if it is another than the last one, that one ends.
    fn answer(
        &mut self,
        chain: Option<usize>,
        id: &str,
        model: Option<String>,
        at: Option<Timestamp>,
        key: &str,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        if self.chain(chain).message.as_ref().is_some_and(|message| message.id == id) {
            return Ok(());
        }
        let scope = self.scope.clone();
        let chain = self.chain(chain);
        let before = chain.end_answer(emitter);
        let started = StepStarted {
            step: scope.id("message.id", id)?,
            parent_step: chain.agent.as_ref().map(|agent| agent.step.clone()),
            model,
            ..Default::default()
        };
        let answering = Answering::begin(emitter, &scope, key, at, &mut chain.pending, started)?;
        chain.message = Some(Message { id: id.to_owned(), answering, has_calls: false });
        before
    }

    fn call(
        &mut self,
        mut block: Fields,
        chain: Option<usize>,
        key: &str,
        at: Option<Timestamp>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        /// The input of a call that starts an agent.
        #[derive(Deserialize)]
        struct Task {
            prompt: String,
            subagent_type: Option<String>,
        }

        let id: String = block.require("id")?;
        let name: String = block.require("name")?;
        let input = block.json("input");
        let scope = self.scope.clone();
        let Some(Message { answering, .. }) = &self.chain(chain).message else { return Ok(()) };
        let chooser = Chooser {
            step: &answering.step,
            model: answering.model.as_ref(),
            rationale: answering.answer.rationale(),
            offered: &Offered::default(),
        };
        let is_agent = matches!(name.as_str(), "Task" | "Agent");
        let call = ToolCall {
            field: "message.content.id".to_owned(),
            id,
            name,
            arguments: input.as_ref().map(|json| json.as_str().to_owned()),
            attributes: block.rest(),
        };
        let step = turn::call(emitter, &scope, key, at, chooser, call)?;
        if is_agent
            && let Some(task) = input.and_then(|json| serde_json::from_str::<Task>(json.as_str()).ok())
        {
            if self.agent_calls.len() >= AGENT_CALLS_MAX {
                self.agent_calls.pop_front();
            }
            self.agent_calls.push_back(AgentCall { step, prompt: task.prompt, kind: task.subagent_type });
        }
        Ok(())
    }

    fn chain(&mut self, sidechain: Option<usize>) -> &mut Chain {
        match sidechain.and_then(|index| self.sidechains.get_mut(index)) {
            Some(chain) => chain,
            None => &mut self.main,
        }
    }

    /// The sidechain of a line: that of its agent, or else that of the line before it, or else a new one.
    #[allow(clippy::too_many_arguments, reason = "each comes from a different field of the line")]
    fn sidechain(
        &mut self,
        agent_id: Option<String>,
        uuid: Option<String>,
        parent: Option<String>,
        key: &str,
        at: Option<Timestamp>,
        prompt: Option<&str>,
        emitter: &mut Emitter<'_>,
    ) -> Result<usize, ImportError> {
        let is_of = |agent: &Agent| match (&agent_id, &parent) {
            (Some(id), _) => agent.id == *id,
            (None, Some(parent)) => agent.recent.contains(parent),
            (None, None) => false,
        };
        let found = self.sidechains.iter().position(|chain| chain.agent.as_ref().is_some_and(is_of));
        let index = match found {
            Some(index) => index,
            None => {
                let mut before = Ok(());
                if self.sidechains.len() >= SIDECHAINS_MAX
                    && let Some(oldest) = self.sidechains.pop_front()
                {
                    before = oldest.end(&self.scope, emitter);
                }
                let id = agent_id.unwrap_or_else(|| key.to_owned());
                before.and(self.agent(id, key, at, prompt, emitter))?;
                self.sidechains.len().saturating_sub(1)
            }
        };
        if let Some(chain) = self.sidechains.get_mut(index) {
            chain.last_at = at.or(chain.last_at);
            key.clone_into(&mut chain.last_key);
            if let (Some(agent), Some(uuid)) = (&mut chain.agent, uuid) {
                if agent.recent.len() >= RECENT_MAX {
                    agent.recent.pop_front();
                }
                agent.recent.push_back(uuid);
            }
        }
        Ok(index)
    }

    /// Begins the step of an agent. The call that has the same prompt is the one that it answers.
    fn agent(
        &mut self,
        id: String,
        key: &str,
        at: Option<Timestamp>,
        prompt: Option<&str>,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        let step: StepId = self.scope.id("agentId", &format!("agent/{id}"))?;
        let asks = |call: &AgentCall| prompt.is_some_and(|prompt| call.prompt.trim() == prompt.trim());
        let call = self.agent_calls.iter().position(asks).and_then(|index| self.agent_calls.remove(index));
        let (call, module) = call.map_or((None, None), |call| (Some(call.step), call.kind));
        let started = StepStarted {
            step: step.clone(),
            parent_step: call.clone(),
            module,
            kind: Some(StepKind::Agent),
            input: prompt.filter(|prompt| !prompt.is_empty()).map(str::to_owned),
            ..Default::default()
        };
        let what = format!("{key}/step/{step}/started");
        let agent = Agent { id, step, call, recent: VecDeque::new() };
        self.sidechains.push_back(Chain { agent: Some(agent), ..Chain::default() });
        emitter.emit(&self.scope, &what, at, started)
    }

    /// Ends what is under way: the file has no more lines of this session.
    pub(super) fn end(mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let mut done = self.begin(None, emitter);
        for chain in std::mem::take(&mut self.sidechains) {
            done = done.and(chain.end(&self.scope, emitter));
        }
        done = done.and(self.main.end_answer(emitter));
        // Only sidechains: the session ends in a file of its own.
        if let Begin::Unseen = self.begin {
            return done;
        }
        let status = if self.is_aborted { SessionEnd::Cancelled } else { SessionEnd::Completed };
        let ended = SessionEnded { status, summary: self.main.words, ..Default::default() };
        done.and(emitter.emit(&self.scope, &format!("{}/ended", self.last_key), self.last_at, ended))
    }
}

impl Chain {
    /// Ends the answer that is under way.
    fn end_answer(&mut self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        if let Some(message) = self.message.take() {
            self.words = message.answering.answer.words().or(self.words.take());
            self.output = message.answering.end(emitter)?;
        }
        Ok(())
    }

    /// Ends the sidechain's agent.
    fn end(mut self, scope: &Scope, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let done = self.end_answer(emitter);
        let Some(agent) = self.agent else { return done };
        let what = format!("{}/step/{}/ended", self.last_key, agent.step);
        let ended =
            StepEnded { step: agent.step, status: StepEnd::Ok, output: self.output, ..Default::default() };
        done.and(emitter.emit(scope, &what, self.last_at, ended))
    }
}

/// A text of an answer's line.
enum Said {
    Text(String),
    Thinking(String),
}

impl Said {
    fn text(&self) -> &str {
        match self {
            Said::Text(text) | Said::Thinking(text) => text,
        }
    }

    fn len(&self) -> usize {
        self.text().len()
    }
}

fn api_error(step: Option<StepId>) -> Problem {
    Problem {
        category: "error",
        pattern_type: "claude_code.api_error",
        severity: Severity::High,
        outcome: Outcome::Error,
        title: "A request to the model failed",
        plain_english: "The model could not be asked.",
        description: None,
        evidence: None,
        step,
    }
}
