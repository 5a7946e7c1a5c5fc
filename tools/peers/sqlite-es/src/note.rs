//! The least that the framework asks for: a stream that notes messages and keeps nothing of them.

use std::convert::Infallible;

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// The one event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Noted {
    pub(crate) message: String,
}

impl DomainEvent for Noted {
    fn event_type(&self) -> String {
        "note".into()
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

/// The command: notes, in their order.
#[derive(Debug)]
pub(crate) struct LogNotes(pub(crate) Vec<Noted>);

/// A stream of notes.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Log;

impl Aggregate for Log {
    const TYPE: &'static str = "log";
    type Command = LogNotes;
    type Event = Noted;
    type Error = Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        LogNotes(notes): LogNotes,
        _services: &(),
        sink: &EventSink<Log>,
    ) -> Result<(), Infallible> {
        for note in notes {
            sink.write(note, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, _event: Noted) {}
}
