//! Answers to questions, in pages and on threads that may block.

use axum::response::Response;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::reader::Reader;
use crate::server::app::App;
use crate::server::app::readers::{Asked, Length};
use crate::server::problem::Problem;
use crate::server::request::output::Output;

/// A page of a list, under its own name.
pub(super) struct List<'a, T> {
    pub(super) name: &'static str,
    pub(super) items: &'a [T],
    /// The `cursor` of the next page.
    pub(super) next: Option<String>,
    /// Events that some read table does not hold yet.
    pub(super) lag: u64,
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

/// Answers a question with the JSON that it writes, on a thread that may block.
pub(super) async fn answer(
    app: &App,
    question: impl FnOnce(&Reader, &mut Output) -> Result<(), Problem> + Send + 'static,
) -> Result<Response, Problem> {
    answer_for(app, Length::Page, JSON, |reader, _, output| question(reader, output)).await
}

pub(in crate::server) const JSON: &str = "application/json";

/// Answers a question with the text that it writes, on a thread that may block.
pub(in crate::server) async fn answer_for(
    app: &App,
    length: Length,
    media_type: &'static str,
    question: impl FnOnce(&Reader, &Asked, &mut Output) -> Result<(), Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let own = app.clone();
    let written = app.readers.ask_for(length, move |reader, asked| {
        let mut output = Output::new(&own, asked.clone());
        question(reader, asked, &mut output)?;
        Ok(output)
    });
    // The connection to the log is free by now: a slow client does not keep it.
    written.await?.into_response(media_type)
}
