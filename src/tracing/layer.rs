//! The layer: from callbacks of the subscriber to events of the log.

use std::sync::Arc;

use serde_json::Value;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as TracingEvent, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::fields::{Fields, text_of};
use super::map;
use super::reentry::{Inside, is_our_own};
use super::settings::{AuditLayer, Sessions, WhenFull};
use super::span::{Owner, Records, SpanRecord};
use crate::event::{
    Draft, Event, Json, SessionEnded, SessionId, SessionStarted, StepEnded, StepId, StepKind, StepStarted,
};
use crate::receipt::{AppendError, TryAppendError};

/// The attribute with the reason, on an event that replaces one that the log did not take.
const UNRECORDED: &str = "annals.unrecorded";

const PANICKED: &str = "panicked";

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for AuditLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if is_our_own() {
            return;
        }
        let _inside = Inside::enter();
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        // Before the span is locked: a value that is formatted, or the log's filter, may look at spans itself.
        attributes.record(&mut fields);
        let around = self.place_around(&span);
        if let Some(record) = self.start(fields, around.as_deref(), attributes.metadata()) {
            let mut extensions = span.extensions_mut();
            // Several layers of one registry share this value of the span. Each has its own number in it.
            if extensions.get_mut::<Records>().is_none() {
                extensions.insert(Records::default());
            }
            if let Some(records) = extensions.get_mut::<Records>() {
                records.put(self.number, record);
            }
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        // Before the span is locked: a value that is formatted may look at spans itself.
        values.record(&mut fields);
        self.change(context.span(id), |record| record.fields.extend(fields));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let Some(followed) = context.span(follows).and_then(|span| self.place_of(&span)) else { return };
        self.change(context.span(id), |record| record.follows.push(record.place.name_of(&followed)));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        // A future is dropped after its panic was caught. When its span closes, the panic is no longer visible.
        if std::thread::panicking() {
            self.change(context.span(id), |record| {
                record.error.get_or_insert_with(|| PANICKED.to_owned());
            });
        }
    }

    fn on_event(&self, event: &TracingEvent<'_>, context: Context<'_, S>) {
        if is_our_own() {
            return;
        }
        let _inside = Inside::enter();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.event_span(event).and_then(|span| self.nearest(span));
        self.happened(fields, span, event.metadata());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        // Not skipped inside a layer: a span that the layer itself closes must still get its end.
        let _inside = Inside::enter();
        let Some(span) = context.span(&id) else { return };
        // The lock on the span ends with this statement. Sending the end, which may block on a full queue,
        // needs none.
        let record = span.extensions_mut().get_mut::<Records>().and_then(|records| records.take(self.number));
        if let Some(record) = record {
            self.end(record);
        }
    }
}

/// The meaning of an event, with the value of the field that marks it.
enum What {
    Decision(Option<Value>),
    Finding(Option<Value>),
    Other,
}

const DECISION: &str = "annals.decision";
const FINDING: &str = "annals.finding";

impl What {
    fn of(fields: &mut Fields, target: &str) -> What {
        // `false` in the field unmarks an event, even one with the target.
        let mut is = |name: &str, its_target: &str| match fields.take_exact(name) {
            Some(Value::Bool(false)) => None,
            Some(mark) => Some(Some(mark)),
            None => (target == its_target).then_some(None),
        };
        if let Some(mark) = is(DECISION, "annals::decision") {
            What::Decision(mark)
        } else if let Some(mark) = is(FINDING, "annals::finding") {
            What::Finding(mark)
        } else {
            What::Other
        }
    }
}

impl AuditLayer {
    fn place_of<'s, S: LookupSpan<'s>>(&self, span: &SpanRef<'s, S>) -> Option<Arc<Owner>> {
        let extensions = span.extensions();
        extensions.get::<Records>()?.get(self.number).map(|record| Arc::clone(&record.place))
    }

    /// The span itself, or the nearest enclosing one that is recorded.
    fn nearest<'s, S: LookupSpan<'s>>(&self, span: SpanRef<'s, S>) -> Option<SpanRef<'s, S>> {
        span.scope().find(|span| self.place_of(span).is_some())
    }

    fn place_around<'s, S: LookupSpan<'s>>(&self, span: &SpanRef<'s, S>) -> Option<Arc<Owner>> {
        span.scope().skip(1).find_map(|span| self.place_of(&span))
    }

    fn change<'s, S: LookupSpan<'s>>(
        &self,
        span: Option<SpanRef<'s, S>>,
        change: impl FnOnce(&mut SpanRecord),
    ) {
        let Some(span) = span else { return };
        let mut extensions = span.extensions_mut();
        if let Some(record) = extensions.get_mut::<Records>().and_then(|records| records.get_mut(self.number))
        {
            change(record);
        }
    }

    fn start(
        &self,
        mut fields: Fields,
        around: Option<&Owner>,
        metadata: &Metadata<'_>,
    ) -> Option<SpanRecord> {
        // A mark decides first. Without a mark, a root span is a session if the layer takes roots, and a span
        // within a session is a step. `false` leaves out a root span; within a session it changes nothing.
        let is_session = match fields.take_exact("annals.session") {
            Some(Value::Bool(is_session)) if is_session || around.is_none() => Some((is_session, None)),
            Some(Value::Bool(_)) => None,
            Some(id) => Some((true, Some(text_of(&id)))),
            None if around.is_none() => Some((self.sessions == Sessions::Roots, None)),
            None => None,
        };
        match (is_session, around) {
            (Some((false, _)), _) => None,
            (Some((true, id)), _) => Some(self.start_session(id, fields, around, metadata)),
            (None, Some(around)) => Some(self.start_step(fields, around, metadata)),
            (None, None) => None,
        }
    }

    fn start_session(
        &self,
        id: Option<String>,
        mut fields: Fields,
        around: Option<&Owner>,
        metadata: &Metadata<'_>,
    ) -> SpanRecord {
        // Fields of the end are kept with the span, because its end is a later event.
        let end = map::split_end(&mut fields);
        let mut started = map::first_session_started(fields, metadata);
        let session = match id.map(SessionId::new) {
            Some(Ok(session)) => session,
            // The session is recorded under an id of its own. The attribute shows why its mark was not used.
            Some(Err(error)) => {
                let why = format!("annals.session {error}");
                started.attributes.insert(UNRECORDED.to_owned(), Json::text(&why));
                SessionId::generate()
            }
            None => SessionId::generate(),
        };
        // A span may name the session that it is in already. That session is no parent of itself.
        if let Some(around) = around.filter(|around| around.session != session) {
            started.parent_session.get_or_insert_with(|| around.session.clone());
        }
        // The parts of the bare event are copied before the whole event is given away.
        let (profile, parent_session) = (started.profile.clone(), started.parent_session.clone());
        self.send(Draft::new(started).session(session.clone()).at(self.log.now()), |why| {
            let attributes = unrecorded(why);
            Some(SessionStarted { profile, parent_session, attributes, ..SessionStarted::default() }.into())
        });
        SpanRecord::new(Owner { session, step: None }, end)
    }

    fn start_step(&self, mut fields: Fields, around: &Owner, metadata: &Metadata<'_>) -> SpanRecord {
        let step: StepId = fields.id("step").unwrap_or_else(StepId::generate);
        let end = map::split_end(&mut fields);
        let mut started = map::first_step_started(fields, metadata);
        started.step = step.clone();
        started.parent_step.clone_from(&around.step);
        // The span's own `kind` field comes before the kind of its target.
        started.kind = started.kind.or_else(|| self.kind_of_target(metadata.target()));
        let bare = StepStarted {
            step: step.clone(),
            parent_step: around.step.clone(),
            module: started.module.clone(),
            kind: started.kind,
            ..StepStarted::default()
        };
        let session = around.session.clone();
        self.send(Draft::new(started).session(session.clone()).at(self.log.now()), |why| {
            Some(StepStarted { attributes: unrecorded(why), ..bare }.into())
        });
        SpanRecord::new(Owner { session, step: Some(step) }, end)
    }

    fn kind_of_target(&self, target: &str) -> Option<StepKind> {
        let is_below = |prefix: &str| {
            target.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let stated = self.kinds.iter().filter(|(prefix, _)| is_below(prefix));
        // The longest prefix is the most specific one. The targets `annals::<kind>` count only without any.
        let nearest = stated.max_by_key(|(prefix, _)| prefix.len()).map(|(_, kind)| *kind);
        nearest.or_else(|| target.strip_prefix("annals::")?.parse().ok())
    }

    fn end(&self, record: SpanRecord) {
        let SpanRecord { place, mut fields, mut error, follows } = record;
        // An error that was recorded before the panic is closer to the cause, so it is kept.
        if std::thread::panicking() {
            error.get_or_insert_with(|| PANICKED.to_owned());
        }
        let at = self.log.now();
        let draft = |event: Event| Draft::new(event).session(place.session.clone());
        let follows = (!follows.is_empty()).then(|| Json::of(&follows).ok()).flatten();
        match &place.step {
            None => {
                let late = map::session_started(&mut fields);
                if late != SessionStarted::default() {
                    // The event has no time of its own, because it is not a second start.
                    self.send(draft(late.into()), |_| None);
                }
                let mut ended = map::session_ended(fields, error);
                ended.attributes.extend(follows.map(|follows| ("follows_from".to_owned(), follows)));
                let status = ended.status;
                self.send(draft(ended.into()).at(at), |why| {
                    Some(
                        SessionEnded { status, attributes: unrecorded(why), ..SessionEnded::default() }
                            .into(),
                    )
                });
            }
            Some(step) => {
                // Fields that belong to the start, but were recorded after it, are sent as an addition to it.
                let late = map::step_started(&mut fields);
                if late != StepStarted::default() {
                    self.send(draft(StepStarted { step: step.clone(), ..late }.into()), |_| None);
                }
                let mut ended = map::step_ended(fields, step.clone(), error);
                ended.attributes.extend(follows.map(|follows| ("follows_from".to_owned(), follows)));
                let bare = StepEnded { step: step.clone(), status: ended.status, ..StepEnded::default() };
                self.send(draft(ended.into()).at(at), |why| {
                    Some(StepEnded { attributes: unrecorded(why), ..bare }.into())
                });
            }
        }
    }

    fn happened<'s, S: LookupSpan<'s>>(
        &self,
        mut fields: Fields,
        span: Option<SpanRef<'s, S>>,
        metadata: &Metadata<'_>,
    ) {
        let at = self.log.now();
        let place = span.as_ref().and_then(|span| self.place_of(span));
        let what = What::of(&mut fields, metadata.target());
        let Some(place) = place else {
            // Outside of a session an event can only be a note. Its mark is put back, so that it is kept as
            // an attribute.
            let (name, mark) = match what {
                What::Decision(mark) => (DECISION, mark),
                What::Finding(mark) => (FINDING, mark),
                What::Other if *metadata.level() > self.notes => return,
                What::Other => ("", None),
            };
            mark.into_iter().for_each(|mark| fields.put_if_absent(name, mark));
            self.send(Draft::new(map::note(fields, None, metadata)).at(at), |_| None);
            return;
        };
        let step = place.step.clone();
        let event: Event = match what {
            What::Decision(mark) => map::decision(fields, step, map::said(mark), metadata).into(),
            What::Finding(mark) => map::finding(fields, step, map::said(mark), metadata).into(),
            What::Other => {
                if *metadata.level() == Level::ERROR {
                    // From a copy: the note below keeps all fields. The first error of a span stays.
                    let mut copy = fields.clone();
                    let error = copy.text("error").or_else(|| copy.text("message"));
                    let error = error.unwrap_or_else(|| metadata.name().to_owned());
                    self.change(span, |record| {
                        record.error.get_or_insert(error);
                    });
                } else if let Some(output) = fields.take_exact("return") {
                    self.change(span, |record| record.fields.put_if_absent("output", output));
                    // An event with only a return value needs no note: the value is kept as the output.
                    if fields.is_empty() {
                        return;
                    }
                }
                if *metadata.level() > self.notes {
                    return;
                }
                map::note(fields, step, metadata).into()
            }
        };
        self.send(Draft::new(event).session(place.session.clone()).at(at), |_| None);
    }

    /// Sends an event to the log. If the log refuses its content, `bare` may make an event with only the
    /// necessary fields and the reason.
    fn send(&self, draft: Draft, bare: impl FnOnce(&str) -> Option<Event>) {
        let (kind, session, at) = (draft.event.kind(), draft.session.clone(), draft.at);
        let error = match self.append(draft) {
            Ok(()) => return,
            Err(error) => error,
        };
        let reason = error.to_string();
        // Only these errors depend on the content. A log that is full or closed would refuse a plainer event too.
        let can_be_plainer =
            matches!(error, TryAppendError::Append(AppendError::Unfit(_) | AppendError::Refused(_)));
        if can_be_plainer && let Some(event) = bare(&reason) {
            // The loss is counted once, below, whether or not this event is taken.
            let _ = self.append(Draft { id: None, session: session.clone(), at, event });
        }
        self.losses.add(kind.name(), session, reason);
    }

    fn append(&self, draft: Draft) -> Result<(), TryAppendError> {
        match self.when_full {
            WhenFull::Block => drop(self.log.append(draft)?),
            WhenFull::Lose => drop(self.log.try_append(draft)?),
        }
        Ok(())
    }
}

fn unrecorded(why: &str) -> crate::event::Attributes {
    [(UNRECORDED.to_owned(), Json::text(why))].into()
}
