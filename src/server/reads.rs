//! Questions to the read tables and the log.

pub(super) mod events;
pub(super) mod lists;
pub(super) mod log;
pub(super) mod params;
pub(super) mod search;
pub(super) mod sessions;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::problem::{Kind, Problem};

/// A page of a list, under its own name.
struct List<'a, T> {
    name: &'static str,
    items: &'a [T],
    /// What `cursor` of the next page is.
    next: Option<String>,
    /// Events that some read table does not hold yet.
    lag: u64,
}

impl<T: Serialize> Serialize for List<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry(self.name, self.items)?;
        map.serialize_entry("next", &self.next)?;
        map.serialize_entry("lag", &self.lag)?;
        map.end()
    }
}

/// A value as the bytes of its JSON form. It is made where blocking is allowed: it may be large.
fn json(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value)
        .map_err(|error| Problem::new(Kind::Internal, format!("the answer has no JSON form: {error}")))
}

fn json_response(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], bytes).into_response()
}
