//! The items of a request of Langfuse's ingestion API. Each is read by itself: a bad item does not affect the others.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::score::Score;
use crate::event::Timestamp;
use crate::otel::read_text;
use crate::server::problem::{Kind, Problem};
use crate::text::beginning;

/// Longest type that a message repeats, in characters.
const TYPE_CHARS_MAX: usize = 40;

/// The content of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `POST /api/public/ingestion`: items of several types.
    Batch,
    /// `POST /api/public/scores`: one score.
    Score,
}

/// An item of a request.
#[derive(Debug)]
pub(super) struct Item {
    /// The item's own id. Empty if it has none.
    pub(super) id: String,
    pub(super) score: Result<Score, String>,
}

/// Reads the items of a body.
///
/// # Errors
/// If the body is not JSON of this shape, or has more than `max` items.
pub(super) fn read(bytes: &[u8], shape: Shape, max: usize, round: u8) -> Result<Vec<Item>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(not_json)?;
    if shape == Shape::Score {
        let body: &RawValue = serde_json::from_str(text).map_err(not_json)?;
        return Ok(vec![Item { id: String::new(), score: Score::read(body, None, None, round) }]);
    }
    let body: Body<'_> = serde_json::from_str(text).map_err(not_json)?;
    let mut batch = serde_json::Deserializer::from_str(body.batch.get());
    let items = batch.deserialize_seq(Items { max }).map_err(not_json)?.ok_or_else(|| {
        Problem::new(
            Kind::TooLarge,
            format!(
                "a request may have at most {max} items; send them in several requests; nothing was recorded"
            ),
        )
    })?;
    let mut items: Vec<Item> = items.into_iter().map(|item| Item::read(item, round)).collect();
    refuse_other_contents(&mut items);
    Ok(items)
}

/// Refuses scores whose id is that of an earlier item of the request with other content, if one of the two has no id of
/// its own and so is named by its item. They would be one finding. With ids of their own they are versions of one score.
fn refuse_other_contents(items: &mut [Item]) {
    let mut firsts = HashMap::new();
    let mut refused = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Ok(score) = &item.score else { continue };
        let first = *firsts.entry((&score.draft.session, &score.id)).or_insert(score);
        let is_named_by_item = !score.has_own_id || !first.has_own_id;
        if is_named_by_item && first.draft.event != score.draft.event {
            refused.push(place);
        }
    }
    for place in refused {
        if let Some(item) = items.get_mut(place) {
            item.score = Err(
                "another item of this request has the `id` of this one and other content; give the score an `id` of its own"
                    .to_owned(),
            );
        }
    }
}

fn not_json(reason: impl fmt::Display) -> Problem {
    Problem::new(
        Kind::NotJson,
        format!("the body is not a request of Langfuse: {reason}; nothing was recorded"),
    )
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    batch: &'a RawValue,
}

/// An item as it is sent. Raw values, so that a field of a wrong type is an error of this item alone.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

fn text(value: Option<&RawValue>) -> Option<String> {
    value.and_then(|value| read_text(value.get())).filter(|text| !text.is_empty())
}

impl Item {
    fn read(item: &RawValue, round: u8) -> Item {
        let sent: Sent<'_> = match serde_json::from_str(item.get()) {
            Ok(sent) => sent,
            Err(error) => {
                return Item { id: String::new(), score: Err(format!("the item cannot be read: {error}")) };
            }
        };
        let id = text(sent.id).unwrap_or_default();
        let score = sent.score(&id, round);
        Item { id, score }
    }
}

impl Sent<'_> {
    fn score(&self, id: &str, round: u8) -> Result<Score, String> {
        if id.is_empty() {
            return Err("the item has no `id`".to_owned());
        }
        match text(self.r#type).as_deref() {
            Some("score-create") => {}
            Some(other) => {
                let other = beginning(other, TYPE_CHARS_MAX).unwrap_or(other);
                return Err(format!(
                    "items of type `{other}` are not recorded, only scores are; send traces by OpenTelemetry, to /api/public/otel/v1/traces or /v1/traces"
                ));
            }
            None => return Err("the item has no `type`".to_owned()),
        }
        let at = match self.timestamp {
            Some(at) => Some(
                read_text(at.get())
                    .and_then(|at| at.parse::<Timestamp>().ok())
                    .ok_or("`timestamp` is not a time such as 2026-11-20T12:00:00Z")?,
            ),
            None => None,
        };
        Score::read(self.body.ok_or("the item has no `body`")?, Some(id), at, round)
    }
}

/// Reads the items of a list as they are; None if there are too many.
struct Items {
    max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items in `batch`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == self.max {
                // The rest need not be parsed: it is known to be JSON.
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(body: &str) -> Vec<(String, Option<String>)> {
        let items = read(body.as_bytes(), Shape::Batch, 9, 0).map_err(|problem| problem.detail).unwrap();
        items.into_iter().map(|item| (item.id, item.score.err())).collect()
    }

    #[test]
    fn a_bad_item_does_not_affect_the_others() {
        let score = r#"{"traceId":"ff7caf06c72923d745303cfa01ab9107","name":"n","value":1}"#;
        let body = format!(
            r#"{{"batch":[
                {{"id":"1","type":"score-create","timestamp":"2026-11-30T17:50:49.963Z","body":{score}}},
                {{"id":"2","type":"trace-create","body":{{}}}},
                {{"id":"3","type":"score-create","timestamp":"now","body":{score}}},
                {{"id":"4","type":"score-create"}},
                {{"id":"5"}},
                {{"type":"score-create","body":{score}}},
                7
            ],"metadata":{{"batch_size":7}}}}"#
        );
        let errors = errors(&body);
        assert_eq!(errors[0], ("1".to_owned(), None));
        for ((id, error), (expected, why)) in errors[1..].iter().zip([
            ("2", "items of type `trace-create` are not recorded"),
            ("3", "`timestamp` is not a time"),
            ("4", "the item has no `body`"),
            ("5", "the item has no `type`"),
            ("", "the item has no `id`"),
            ("", "the item cannot be read"),
        ]) {
            assert_eq!(id, expected);
            assert!(error.as_ref().unwrap().starts_with(why), "{error:?}");
        }
        assert_eq!(errors.len(), 7);
    }

    #[test]
    fn an_item_with_the_id_of_another_one_and_other_content_is_refused() {
        let item = |item: &str, score: &str, name: &str| {
            format!(
                r#"{{"id":"{item}","type":"score-create","body":{{{score}"traceId":"ff7caf06c72923d745303cfa01ab9107","name":"{name}","value":1}}}}"#
            )
        };
        let refused = |batch: &[String]| -> Vec<bool> {
            let errors = errors(&format!(r#"{{"batch":[{}]}}"#, batch.join(",")));
            errors.into_iter().map(|(_, error)| error.is_some()).collect()
        };
        let (a, b) = (item("1", "", "a"), item("1", "", "b"));
        assert_eq!(refused(&[a.clone(), b.clone(), item("2", "", "b")]), [false, true, false]);
        // The same item twice is one score.
        assert_eq!(refused(&[a.clone(), a.clone()]), [false, false]);
        // Other contents of a score with an id of its own are its versions.
        let own = |name| item("1", r#""id":"s","#, name);
        assert_eq!(refused(&[own("a"), own("b"), a]), [false, false, false]);
        assert_eq!(refused(&[item("s", "", "a"), own("b")]), [false, true]);
        let error = errors(&format!(r#"{{"batch":[{},{b}]}}"#, item("1", "", "a")))[1].1.clone().unwrap();
        assert!(error.starts_with("another item of this request has the `id` of this one"), "{error}");
    }

    #[test]
    fn a_body_of_another_shape_is_refused_as_a_whole() {
        for body in ["", "[]", "{}", r#"{"batch":{}}"#, r#"{"batch":[}"#, r#"{"batch":[]"#] {
            let problem = read(body.as_bytes(), Shape::Batch, 9, 0).err().unwrap();
            assert_eq!(problem.kind, Kind::NotJson, "{body}");
        }
        let problem = read(br#"{"batch":[1,2,3]}"#, Shape::Batch, 2, 0).err().unwrap();
        assert_eq!(problem.kind, Kind::TooLarge);
    }
}
