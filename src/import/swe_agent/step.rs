//! A step of a run: what the model answered, and what its command brought.

use super::super::emit::Emitter;
use super::super::error::ImportError;
use super::super::fields::Fields;
use super::super::transcript::{Answered, Called, Record, Returned};
use super::super::turn::{Answer, json_of};
use super::run::Run;
use crate::Attributes;

/// Emits a step.
pub(super) fn emit(
    run: &mut Run,
    mut fields: Fields,
    index: usize,
    emitter: &mut Emitter<'_>,
) -> Result<(), ImportError> {
    let place = fields.place().clone();
    let number = index + 1;
    let action: String = fields.take("action")?.unwrap_or_default();
    let observation = fields.text("observation");
    let response: Option<String> = fields.take("response")?;
    let thought: Option<String> = fields.take("thought")?;
    let mut answer = Answer::default();
    // The thought is the part of the response before the command.
    let own_thought = thought.filter(|thought| {
        response.as_ref().is_none_or(|response| !response.trim().starts_with(thought.trim()))
    });
    if let Some(thought) = own_thought {
        answer.reasoning(thought);
    }
    if let Some(response) = response {
        answer.text(response);
    }
    // The input has its newest messages. All of it is an attribute.
    let messages = if fields.see("query").is_some() { "query" } else { "messages" };
    let input = newest(&mut fields, messages)?;
    let mut returned = Attributes::new();
    for name in ["execution_time", "state"] {
        returned.extend(fields.json(name).map(|json| (name.to_owned(), json)));
    }
    let called = called(run, &action);
    let key = format!("step/{number}");
    let mut answered =
        Answered { step: key.clone(), input, answer, attributes: fields.rest(), ..Default::default() };
    let has_call = called.is_some();
    answered.calls.extend(called);
    if !has_call {
        // Nothing was run; the observation says why.
        answered.attributes.append(&mut returned);
        let json = json_of(&place, "observation", &observation)?;
        answered.attributes.extend(observation.as_ref().map(|_| ("observation".to_owned(), json)));
    }
    let record = Record { place: &place, key: &key, at: None };
    let calls = run.transcript.answered(&record, answered, emitter)?;
    match calls.into_iter().next() {
        Some(call) => {
            let result = Returned { output: observation, error: None, attributes: returned };
            run.transcript.returned(&record, call, result, emitter)
        }
        None => {
            run.transcript.add_input(observation, None);
            Ok(())
        }
    }
}

/// The tool of a command: that of the history, or else the first word.
fn called(run: &mut Run, action: &str) -> Option<Called> {
    if let Some(call) = run.calls.next(action) {
        let mut attributes = Attributes::new();
        attributes.insert("action".to_owned(), crate::Json::text(action));
        return Some(Called { id: call.id, name: call.name, arguments: call.arguments, attributes });
    }
    let name = action.split_whitespace().next()?;
    Some(Called {
        id: None,
        name: name.to_owned(),
        arguments: Some(action.to_owned()),
        attributes: Attributes::new(),
    })
}

/// The texts of the messages since the last answer.
fn newest(fields: &mut Fields, name: &str) -> Result<Option<String>, ImportError> {
    let Some(whole) = fields.see(name).cloned() else { return Ok(None) };
    let mut texts = Vec::new();
    for mut message in fields.objects(name)?.unwrap_or_default() {
        if message.take::<String>("role")?.as_deref() == Some("assistant") {
            texts.clear();
        } else {
            texts.extend(message.content("content")?.0);
        }
    }
    fields.put(name, whole);
    Ok((!texts.is_empty()).then(|| texts.join("\n")))
}
