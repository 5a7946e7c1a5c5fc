//! The fold of the projection `keys`: the state of each API key.

use crate::event::{Content, Event, Recorded};

use crate::projection::fold::cell::json_text;
use crate::projection::fold::input::Input;
use crate::projection::fold::rows::ApiKeyRow;
use crate::projection::fold::working_set::WorkingSet;

/// The API key that an event is about: its id as text.
pub(in crate::projection) fn key_of(event: &Recorded) -> Option<String> {
    match &event.content {
        Content::Event(Event::ApiKeyCreated(_)) => Some(event.event_id.to_string()),
        Content::Event(Event::ApiKeyRevoked(revoked)) => Some(revoked.key.to_string()),
        _ => None,
    }
}

/// Folds one event. If a key is revoked twice, the first time counts.
pub(in crate::projection) fn fold(rows: &mut WorkingSet, &Input { event, .. }: &Input<'_>) {
    let (Some(id), Content::Event(content)) = (key_of(event), &event.content) else { return };
    let seq = event.seq.to_sql();
    match content {
        Event::ApiKeyCreated(created) => {
            rows.api_keys.change(id.as_str(), || ApiKeyRow {
                id: id.clone(),
                name: created.name.clone(),
                scopes: json_text(&created.scopes).unwrap_or_default(),
                secret_hash: created.secret_hash.to_string(),
                expires_at: created.expires_at,
                created_at: event.recorded_at,
                created_by: created.actor.clone(),
                reason: created.reason.clone(),
                revoked_at: None,
                revoked_by: None,
                revoked_reason: None,
                first_seq: seq,
                last_seq: seq,
            });
        }
        Event::ApiKeyRevoked(revoked) => {
            if let Some(row) = rows.api_keys.change_known(id.as_str())
                && row.revoked_at.is_none()
            {
                row.revoked_at = Some(event.recorded_at);
                row.revoked_by = Some(revoked.actor.clone());
                row.revoked_reason.clone_from(&revoked.reason);
                row.last_seq = seq;
            }
        }
        _ => {}
    }
}
