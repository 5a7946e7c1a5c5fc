//! Events of OpenHands up to version 1: an `action` with `args`, or an `observation` with `content` and `extras`.

use super::super::error::ImportError;
use super::super::fields::{Fields, text_of};
use super::super::tools;
use super::super::transcript::{Called, Returned};
use super::super::turn::Answer;
use super::event::{Ends, Event, Kind, Refusal, time};

/// Actions that a model chooses, also where it is not called with tools.
const CHOSEN: [&str; 13] = [
    "run",
    "run_ipython",
    "browse",
    "browse_interactive",
    "read",
    "write",
    "edit",
    "call_tool_mcp",
    "delegate",
    "think",
    "finish",
    "reject",
    "task_tracking",
];

pub(super) fn event(mut fields: Fields) -> Result<Event, ImportError> {
    let at = time(&mut fields)?;
    let own_id = fields.see("id").map(text_of);
    let source: Option<String> = fields.take("source")?;
    let mut metadata = fields.object("tool_call_metadata")?;
    let call_id = match &mut metadata {
        Some(metadata) => metadata.take("tool_call_id")?,
        None => None,
    };
    let kind = match (fields.take::<String>("action")?, fields.take::<String>("observation")?) {
        (Some(action), _) => {
            let is_agent = source.as_deref() == Some("agent");
            act(action, is_agent, metadata, call_id, &mut fields)?
        }
        (None, Some(observation)) => {
            keep(metadata, &mut fields);
            observe(observation, call_id, &mut fields)?
        }
        (None, None) => return Err(fields.error("action", "is missing, and `observation`, too")),
    };
    if let Some(source) = source.filter(|source| source != "agent") {
        fields.put("source", crate::Json::text(&source));
    }
    Ok(Event { at, id: own_id, kind, rest: fields })
}

fn keep(metadata: Option<Fields>, fields: &mut Fields) {
    for (name, json) in metadata.map(Fields::rest).unwrap_or_default() {
        fields.put(&format!("tool_call_metadata.{name}"), json);
    }
}

fn act(
    action: String,
    is_agent: bool,
    mut metadata: Option<Fields>,
    call_id: Option<String>,
    fields: &mut Fields,
) -> Result<Kind, ImportError> {
    let mut args = match fields.object("args")? {
        Some(args) => args,
        None => fields.none("args"),
    };
    let content = args.text("content");
    // The message repeats the arguments, in words.
    match action.as_str() {
        "system" => {
            let offered = args.see("tools").map(tools::offered).unwrap_or_default();
            rest(args, fields);
            return Ok(Kind::System { text: content, offered });
        }
        "message" if !is_agent => {
            rest(args, fields);
            return Ok(Kind::User(content));
        }
        _ => {}
    }
    let name = match &mut metadata {
        Some(metadata) => metadata.take::<String>("function_name")?,
        None => None,
    };
    let response = metadata.as_ref().and_then(response_id);
    let is_chosen = is_agent && (name.is_some() || CHOSEN.contains(&action.as_str()));
    let is_answer = is_agent && action == "message";
    if !is_chosen && !is_answer {
        keep(metadata, fields);
        if let Some(content) = &content {
            fields.put("args.content", crate::Json::text(content));
        }
        rest(args, fields);
        return Ok(Kind::Other { kind: action, text: fields.text("message") });
    }
    keep(metadata, fields);
    let mut answer = Answer::default();
    if action == "message" {
        content.into_iter().for_each(|text| answer.text(text));
        rest(args, fields);
        return Ok(Kind::Answer { answer, response, call: None, ends: Ends::AtOnce });
    }
    args.text("thought").filter(|text| !text.is_empty()).into_iter().for_each(|text| answer.text(text));
    if let Some(content) = content {
        args.put("content", crate::Json::text(&content));
    }
    let ends = if action == "finish" || action == "reject" { Ends::AtOnce } else { Ends::WithItsResult };
    let name = name.unwrap_or_else(|| action.clone());
    fields.put("action", crate::Json::text(&action));
    let place = fields.place().clone();
    let arguments = super::super::turn::json_of(&place, "args", &args.rest())?;
    let call = Called {
        id: call_id,
        name,
        arguments: Some(arguments.as_str().to_owned()),
        attributes: crate::Attributes::new(),
    };
    Ok(Kind::Answer { answer, response, call: Some(call), ends })
}

fn rest(args: Fields, fields: &mut Fields) {
    for (name, json) in args.rest() {
        fields.put(&format!("args.{name}"), json);
    }
}

/// The id of the response that a call is from.
fn response_id(metadata: &Fields) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Response {
        id: String,
    }
    serde_json::from_str::<Response>(metadata.see("model_response")?.as_str())
        .ok()
        .map(|response| response.id)
}

fn observe(observation: String, call: Option<String>, fields: &mut Fields) -> Result<Kind, ImportError> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Extras {
        exit_code: Option<i64>,
        metadata: Option<Metadata>,
    }
    #[derive(serde::Deserialize)]
    struct Metadata {
        exit_code: Option<i64>,
    }

    let output = fields.text("content");
    let action = fields.text("cause");
    let extras: Extras =
        fields.see("extras").and_then(|json| serde_json::from_str(json.as_str()).ok()).unwrap_or_default();
    let code = extras.metadata.and_then(|metadata| metadata.exit_code).or(extras.exit_code);
    let is_rejected = observation == "user_rejected";
    let error = match (observation.as_str(), code) {
        ("error" | "user_rejected", _) => Some(output.clone().unwrap_or_else(|| observation.clone())),
        // -1 stands for a command that still runs.
        (_, Some(code)) if code > 0 => Some(format!("exit code {code}")),
        _ => None,
    };
    fields.put("observation", crate::Json::text(&observation));
    let returned = Returned { output, error, attributes: crate::Attributes::new() };
    let refusal = if is_rejected { Refusal::Rejected } else { Refusal::None };
    Ok(Kind::Result { call, action, returned, refusal })
}
