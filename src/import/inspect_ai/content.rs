//! Messages of a chat and outputs of a model.

use super::super::error::ImportError;
use super::super::fields::{Fields, Item};
use super::super::transcript::Called;
use super::super::turn::{Answer, json_of};

/// The content of a message: a text, or a list of parts. Parts that are no texts stay in the message.
pub(super) fn take(message: &mut Fields, answer: &mut Answer) -> Result<(), ImportError> {
    let mut others = Vec::new();
    for item in message.items("content")? {
        match item {
            Item::Text(text) => answer.text(text),
            Item::Object(mut part) => match part.see("type").map(super::super::fields::text_of).as_deref() {
                Some("text") => {
                    part.text("text").into_iter().for_each(|text| answer.text(text));
                    part.drop_usual("type", "text");
                    if !part.is_empty() {
                        others.push(part.raw().clone());
                    }
                }
                Some("reasoning") => {
                    part.text("reasoning").into_iter().for_each(|text| answer.reasoning(text));
                    others.push(part.raw().clone());
                }
                _ => others.push(part.raw().clone()),
            },
        }
    }
    if !others.is_empty() {
        let json = json_of(message.place(), "content", &others)?;
        message.put("content", json);
    }
    Ok(())
}

/// The text of a message.
pub(super) fn text(message: &mut Fields) -> Result<Option<String>, ImportError> {
    let mut answer = Answer::default();
    take(message, &mut answer)?;
    Ok(answer.output())
}

/// The calls of tools in a message.
pub(super) fn calls(message: &mut Fields) -> Result<Vec<Called>, ImportError> {
    let calls = message.objects("tool_calls")?.unwrap_or_default();
    calls
        .into_iter()
        .map(|mut call| {
            call.drop_usual("type", "function");
            Ok(Called {
                id: call.take("id")?,
                name: call.require("function")?,
                arguments: call.json("arguments").map(|json| json.as_str().to_owned()),
                attributes: call.rest(),
            })
        })
        .collect()
}
