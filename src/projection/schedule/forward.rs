//! Taking read tables forward: events are folded ahead, and their changes are written in one transaction.

use std::time::{Duration, Instant};

use crate::event::Seq;
use crate::limits::{
    FOLD_EVENTS_MAX, FOLD_EVENTS_SHORT, FOLD_PAUSE_AWAITED, FOLD_TIME_KEEPING_UP, FOLD_TIME_MAX,
    FOLD_TIME_SHORT,
};
use crate::log::rows;
use crate::log::write_lock::{Who, begin};
use crate::projection::schedule::ahead::{Next, Part, Wait};
use crate::projection::schedule::group::{Group, Member};
use crate::projection::schedule::throttle::Wrote;
use crate::projection::schedule::worker::{EVERYTHING, Step, Worker, Written, read_after};
use crate::projection::tables::apply::ApplyError;
use crate::projection::tables::{Stage, Throttling};

/// A group of tables that is due, and the range of events to fold.
struct Due {
    group: Group,
    position: Seq,
    /// The last event that they may hold afterwards.
    limit: Seq,
}

impl Worker {
    /// Takes tables forward, all in one transaction. If that fails, takes each forward in a transaction of its own,
    /// so that a problem with one holds up no other.
    pub(in crate::projection) fn take_forward(&mut self, mut due: Vec<Member>, until: Seq) -> Step {
        let mut result = Step::Idle;
        let mut ready = Vec::new();
        let pace_and_position = |member: &Member| (member.projection.throttling, member.cursor.position);
        // Tables of one pace at one position are adjacent now, and share the folding.
        due.sort_by_key(pace_and_position);
        while let Some((throttling, position)) = due.first().map(pace_and_position) {
            let others = due
                .split_off(due.partition_point(|member| pace_and_position(member) == (throttling, position)));
            let members = std::mem::replace(&mut due, others);
            // A group goes as far as the next group of its pace. In the next round, the two go on together.
            let next = due.first().filter(|other| other.projection.throttling == throttling);
            let next = next.map_or(EVERYTHING, |other| other.cursor.position);
            // A rebuild goes on to the end of the log, even while the log is being closed.
            let is_live = members.iter().any(|member| member.stage == Stage::Live);
            let limit = if is_live { until } else { EVERYTHING }.min(next);
            match self.fold_first(members, (throttling, position), limit) {
                Ok(group) => ready.push(group),
                Err(step) => result = result.and(step),
            }
        }
        result.and(self.write(ready))
    }

    /// Orders the folding of events for tables at one position, and waits for the first part. This holds no
    /// write lock, so it delays no writer. If folding ahead is not possible, returns the step that was made
    /// instead.
    fn fold_first(
        &mut self,
        members: Vec<Member>,
        (throttling, position): (Throttling, Seq),
        limit: Seq,
    ) -> Result<Due, Step> {
        let head = match rows::head(&self.connection) {
            Ok(head) => head.seq,
            Err(error) => return Err(self.record_errors(&members, &error)),
        };
        let until = limit.min(head);
        let kept = self.kept.iter().position(|kept| kept.is_of(&members));
        let mut group = match kept {
            Some(index) => self.kept.swap_remove(index),
            None => {
                // A group that has some of these tables is at other cursors or has other members: what it folded is
                // out of date.
                self.kept.retain(|kept| !kept.has_some_of(&members));
                match Group::start(members.clone(), throttling, (&self.path, self.database), position) {
                    Ok(group) => group,
                    // The tables cannot be read, perhaps only those of one member; or the file was moved.
                    Err(_) => return Err(self.take_forward_alone(members, until)),
                }
            }
        };
        // At the end of the log nothing is ordered: tables of a finished rebuild are here to be switched.
        if position < until {
            group.ahead.go_on(until);
            match group.ahead.peek() {
                Some(Ok(Next::Part(_))) => {}
                Some(Ok(Next::Erasure)) => return Err(self.erase(group.into_members(), position, until)),
                Some(Err(_)) | None => return Err(self.take_forward_alone(group.into_members(), until)),
            }
        }
        Ok(Due { group, position, limit })
    }

    /// Writes the folded parts in one transaction. It goes on while there are more, and while the writer does
    /// not wait for too long.
    fn write(&mut self, mut due: Vec<Due>) -> Step {
        if due.is_empty() {
            return Step::Idle;
        }
        match self.try_write(&mut due) {
            Ok(Written::Committed) => due.into_iter().fold(Step::Worked, |step, Due { group, .. }| {
                let published = self.publish_all(group.members());
                if !group.has_switched() {
                    self.kept.push(group);
                }
                step.and(published)
            }),
            // All that was folded ahead is dropped with `due`: another process has changed the tables that it
            // was folded for.
            Ok(Written::SomebodyElseDid) => Step::Paused(Instant::now() + FOLD_PAUSE_AWAITED),
            // Each projection is now tried alone. The one that causes the error meets it again, and reports
            // it.
            Err(_) => due.into_iter().fold(Step::Idle, |step, Due { group, limit, .. }| {
                step.and(self.take_forward_alone(group.into_members(), limit))
            }),
        }
    }

    fn try_write(&mut self, due: &mut [Due]) -> rusqlite::Result<Written> {
        // Held until the commit. No other thread or process writes meanwhile, so cursors that are compared in this
        // transaction cannot move before its end.
        let guard = self.take_write_lock()?;
        let began = Instant::now();
        let tx = begin(&self.connection)?;
        for due in &*due {
            if !due.group.is_as_stored(&tx)? {
                return Ok(Written::SomebodyElseDid);
            }
        }
        // The log may have grown while this thread waited: this head is the end of the log until the commit.
        let head = rows::head(&tx)?.seq;
        let mut written = Vec::<(Option<Part>, Duration)>::new();
        let mut served: Option<Throttling> = None;
        let is_pressed = self.throttle.is_pressed();
        let has_room = || {
            // Asked before each part, so that the transaction ends soon after the writer begins to wait.
            let longest = match (self.write_lock.writer_waits(), is_pressed) {
                (false, _) => FOLD_TIME_MAX,
                (true, false) => FOLD_TIME_KEEPING_UP,
                (true, true) => FOLD_TIME_SHORT,
            };
            began.elapsed() < longest
        };
        for Due { group, position, limit } in &mut *due {
            let mut last = None;
            let until = head.min(*limit);
            let since = Instant::now();
            group.ahead.go_on(until);
            // Every group of the pace that is served first may write one part even when the time is over.
            let is_of_first_pace = served.is_none_or(|throttling| throttling == group.throttling());
            while *position < until && (has_room() || (is_of_first_pace && last.is_none())) {
                // While the writer waits, only parts that are folded already are written.
                let wait = if self.write_lock.writer_waits() { Wait::No } else { Wait::Yes };
                let Some(part) = group.ahead.take_part(wait) else { break };
                group.save(&tx, &part)?;
                *position = part.position;
                last = Some(part);
                served = served.or(Some(group.throttling()));
            }
            written.push((last, since.elapsed()));
        }
        // Rows and cursors are committed together: a crash leaves both as before, or both as after. Tables are
        // switched last, because this drops live tables that were written above.
        let positions =
            || due.iter().flat_map(|due| due.group.members().iter().map(|member| (member, due.position)));
        positions()
            .filter(|(member, position)| member.cursor.position != *position)
            .try_for_each(|(member, position)| member.advance(&tx, position))?;
        positions().try_for_each(|(member, position)| member.switch(&tx, position, head))?;
        let since = Instant::now();
        tx.commit()?;
        drop(guard);
        let commit = since.elapsed();
        let mut wrote = Vec::<(Throttling, Wrote)>::new();
        for (Due { group, position, .. }, (last, took)) in due.iter_mut().zip(written) {
            // Only after the commit: a transaction that is rolled back must not move a cursor in memory.
            group.move_to(*position, head);
            let Some(last) = last else { continue };
            // From here on the folding thread may forget these rows, and read them from the tables.
            group.ahead.stored(&last);
            for member in group.members().iter().filter(|member| member.projection.has_index()) {
                let stage = if group.has_switched() { Stage::Live } else { member.stage };
                self.to_merge = Some((member.projection, stage));
            }
            let this = Wrote { took: took + commit, position: *position, head };
            match wrote.iter_mut().find(|(throttling, _)| *throttling == group.throttling()) {
                // Two groups of one pace, such as a rebuild beside the live tables: the one further behind counts.
                Some((_, both)) => {
                    both.took += took;
                    both.position = both.position.min(this.position);
                }
                None => wrote.push((group.throttling(), this)),
            }
        }
        wrote.into_iter().for_each(|(throttling, wrote)| self.throttle.wrote(throttling, wrote));
        let events = if self.throttle.is_pressed() { FOLD_EVENTS_SHORT } else { FOLD_EVENTS_MAX };
        due.iter().for_each(|due| due.group.ahead.fold_at_once(events));
        // The writer may be idle while a rebuild fills the write-ahead log, so this thread looks at its size.
        self.checkpoints.if_large(&self.connection, &self.write_lock, Who::Projection);
        Ok(Written::Committed)
    }

    /// Folds events with a redaction among them. The same transaction removes the rows of the redacted
    /// events.
    fn erase(&mut self, members: Vec<Member>, position: Seq, until: Seq) -> Step {
        let events = read_after(&self.connection, position, until).map_err(ApplyError::Sqlite);
        match events.and_then(|events| self.fold_given(&members, &events)) {
            Ok(Written::Committed) => Step::Worked.and(self.publish_all(&members)),
            Ok(Written::SomebodyElseDid) => Step::Paused(Instant::now() + FOLD_PAUSE_AWAITED),
            Err(_) => self.take_forward_alone(members, until),
        }
    }

    /// Takes each of these tables forward by itself, after a failure.
    fn take_forward_alone(&mut self, members: Vec<Member>, until: Seq) -> Step {
        // A new connection, without kept groups: the failure may have left wrong numbers in the memory of the old
        // one.
        self.reconnect();
        members.into_iter().fold(Step::Idle, |step, member| {
            let folded = self.fold_alone(&member, until);
            step.and(folded.unwrap_or_else(|error| self.record_error(member.projection, &error)))
        })
    }
}
