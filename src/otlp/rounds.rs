//! The rounds in which the items of a request are sent to a log: each round sends those whose id another event has,
//! under the next id. The server and the import of files share them, so an item gets the same id from both.

use std::collections::HashSet;

use super::ids::Attempt;
use super::reading::{Bounds, Request, Signal, Unreadable};
use super::request::{Form, read_into};

/// A round. The request is read again for each, because its drafts are used up when they are sent.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    ids: Ids,
    /// The positions of the items that are sent. The first round knows of none, and sends all.
    places: Option<HashSet<usize>>,
}

/// The ids that items are sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    /// Ids made from the items. Items that are sent again are one event.
    Own(Attempt),
    /// New ids. An item that came with too many different contents is recorded each time it is sent.
    Fresh,
}

impl Round {
    /// The round that sends all items.
    pub(crate) fn first() -> Round {
        Round { ids: Ids::Own(Attempt::default()), places: None }
    }

    pub(crate) fn is_first(&self) -> bool {
        self.places.is_none()
    }

    /// The round that sends these items, whose id another event has: most often the same span with other content. They
    /// are recorded beside that event. The rounds end: attempts are bounded, and no other event has a new id.
    #[must_use]
    pub(crate) fn next(&self, places: impl IntoIterator<Item = usize>) -> Round {
        let ids = match self.ids {
            Ids::Own(attempt) => attempt.next().map_or(Ids::Fresh, Ids::Own),
            Ids::Fresh => Ids::Fresh,
        };
        Round { ids, places: Some(places.into_iter().collect()) }
    }

    /// Reads the items of this round. In every round the same items are rejected.
    pub(crate) fn read(
        &self,
        body: &[u8],
        signal: Signal,
        form: Form,
        bounds: Bounds,
        room: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Request, Unreadable> {
        let attempt = match self.ids {
            Ids::Own(attempt) => attempt,
            Ids::Fresh => Attempt::default(),
        };
        let mut request = read_into(body, signal, form, bounds, attempt, room)?;
        if let Some(places) = &self.places {
            request.items.retain(|item| places.contains(&item.place));
        }
        if self.ids == Ids::Fresh {
            // The log makes absent ids: no other event has them.
            request.items.iter_mut().for_each(|item| item.draft.id = None);
        }
        Ok(request)
    }
}
