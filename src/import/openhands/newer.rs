//! Events of OpenHands' software agent SDK: each has a `kind`.

use super::super::error::ImportError;
use super::super::fields::{Fields, text_of};
use super::super::tools;
use super::super::transcript::{Called, Returned};
use super::super::turn::{Answer, json_of};
use super::event::{Ends, Event, Kind, Refusal, time};
use crate::{Attributes, Json};

pub(super) fn event(mut fields: Fields) -> Result<Event, ImportError> {
    let at = time(&mut fields)?;
    let own_id = fields.see("id").map(text_of);
    let kind: String = fields.require("kind")?;
    let kind = match kind.as_str() {
        "SystemPromptEvent" => system(&mut fields)?,
        "MessageEvent" => message(&mut fields)?,
        "ActionEvent" => action(&mut fields)?,
        "ObservationEvent" => observation(&mut fields)?,
        "UserRejectObservation" => result(&mut fields, "rejection_reason", Refusal::Rejected)?,
        "AgentErrorEvent" => result(&mut fields, "error", Refusal::None)?,
        "ConversationErrorEvent" => Kind::Failed(fields.text("detail")),
        _ => Kind::Other { kind, text: None },
    };
    Ok(Event { at, id: own_id, kind, rest: fields })
}

fn system(fields: &mut Fields) -> Result<Kind, ImportError> {
    let mut texts = Vec::new();
    for name in ["system_prompt", "dynamic_context"] {
        let (found, others) = fields.content(name)?;
        texts.extend(found);
        put(fields, name, &others)?;
    }
    let offered = fields.see("tools").map(tools::offered).unwrap_or_default();
    Ok(Kind::System { text: joined(texts), offered })
}

fn message(fields: &mut Fields) -> Result<Kind, ImportError> {
    let source: Option<String> = fields.take("source")?;
    let mut message =
        fields.object("llm_message")?.ok_or_else(|| fields.error("llm_message", "is missing"))?;
    let (texts, others) = message.content("content")?;
    put(&mut message, "content", &others)?;
    let reasoning = message.text("reasoning_content").filter(|text| !text.is_empty());
    for (name, json) in message.rest() {
        fields.put(&format!("llm_message.{name}"), json);
    }
    if source.as_deref() != Some("agent") {
        fields.put("source", Json::text(source.as_deref().unwrap_or_default()));
        return Ok(Kind::User(joined(texts)));
    }
    let mut answer = Answer::default();
    reasoning.into_iter().for_each(|text| answer.reasoning(text));
    texts.into_iter().for_each(|text| answer.text(text));
    Ok(Kind::Answer { answer, response: fields.take("llm_response_id")?, call: None, ends: Ends::AtOnce })
}

fn action(fields: &mut Fields) -> Result<Kind, ImportError> {
    let mut answer = Answer::default();
    fields
        .text("reasoning_content")
        .filter(|text| !text.is_empty())
        .into_iter()
        .for_each(|text| answer.reasoning(text));
    let (thoughts, others) = fields.content("thought")?;
    put(fields, "thought", &others)?;
    thoughts.into_iter().for_each(|text| answer.text(text));
    let name: String = fields.require("tool_name")?;
    let id = fields.take("tool_call_id")?;
    let mut call = match fields.object("tool_call")? {
        Some(call) => call,
        None => fields.none("tool_call"),
    };
    let arguments = match call.object("function")? {
        // The form of the API, in older versions.
        Some(mut function) => function.text("arguments"),
        None => call.text("arguments"),
    };
    let action = fields.json("action");
    let arguments = arguments.or_else(|| action.as_ref().map(|json| json.as_str().to_owned()));
    let mut attributes = Attributes::new();
    attributes.extend(action.map(|json| ("action".to_owned(), json)));
    attributes.extend(fields.json("security_risk").map(|json| ("security_risk".to_owned(), json)));
    attributes.extend(fields.json("summary").map(|json| ("summary".to_owned(), json)));
    let ends = if name == "finish" { Ends::AtOnce } else { Ends::WithItsResult };
    let response = fields.take("llm_response_id")?;
    Ok(Kind::Answer { answer, response, call: Some(Called { id, name, arguments, attributes }), ends })
}

fn observation(fields: &mut Fields) -> Result<Kind, ImportError> {
    let mut observation =
        fields.object("observation")?.ok_or_else(|| fields.error("observation", "is missing"))?;
    let (texts, others) = observation.content("content")?;
    put(&mut observation, "content", &others)?;
    let is_error = observation.take("is_error")?.unwrap_or(false);
    let output = joined(texts);
    let mut attributes = Attributes::new();
    for (name, json) in observation.rest() {
        attributes.insert(format!("observation.{name}"), json);
    }
    let error = is_error.then(|| output.clone().unwrap_or_else(|| "the tool failed".to_owned()));
    let returned = Returned { output, error, attributes };
    Ok(Kind::Result {
        call: fields.take("tool_call_id")?,
        action: fields.text("action_id"),
        returned,
        refusal: Refusal::None,
    })
}

fn result(fields: &mut Fields, text: &str, refusal: Refusal) -> Result<Kind, ImportError> {
    let error: String = fields.require(text)?;
    let returned =
        Returned { output: Some(error.clone()), error: Some(error), attributes: Attributes::new() };
    let call = fields.take("tool_call_id")?;
    Ok(Kind::Result { call, action: fields.text("action_id"), returned, refusal })
}

fn put(fields: &mut Fields, name: &str, others: &[Json]) -> Result<(), ImportError> {
    if !others.is_empty() {
        let json = json_of(fields.place(), name, others)?;
        fields.put(name, json);
    }
    Ok(())
}

fn joined(texts: Vec<String>) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join("\n"))
}
