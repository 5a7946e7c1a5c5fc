//! The status of the projections.

use rusqlite::Connection;
use serde::Serialize;

use crate::event::Seq;
use crate::log::rows;
use crate::projection::tables::{self, LeftOut, PROJECTIONS, Stage, StoppedAt, Table};

/// The state of a projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// The tables that it fills.
    pub tables: Vec<&'static str>,
    /// Version of its tables in the file, if the file has them.
    pub version: Option<u32>,
    /// The version that this version of Annals fills.
    pub known_version: u32,
    /// Sequence number of the last event that its tables hold.
    pub position: Seq,
    /// Number of events of the log that its tables do not hold yet.
    pub lag: u64,
    /// The failing event and the reason, if the projection has stopped.
    pub stopped: Option<StoppedProjection>,
    /// The rebuild that is under way.
    pub rebuild: Option<Rebuild>,
    /// Indexes and triggers that somebody else created and that could not be made again on its tables. The next
    /// rebuild tries again.
    pub left_out: Vec<LeftOutObject>,
}

/// An index or a trigger that somebody else created and that could not be made again on a read table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct LeftOutObject {
    /// Its name.
    pub name: String,
    /// The table that it was on.
    pub table: String,
    /// The reason why it could not be made.
    pub reason: String,
}

/// The failing event of a projection, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StoppedProjection {
    /// Sequence number of the event that the projection cannot apply.
    pub seq: Seq,
    /// The reason why it cannot apply the event.
    pub reason: String,
}

/// A rebuild that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Rebuild {
    /// Version of the tables that it fills.
    pub version: u32,
    /// Sequence number of the last event that these tables hold.
    pub position: Seq,
    /// The failing event and the reason, if the rebuild has stopped.
    pub stopped: Option<StoppedProjection>,
}

impl From<StoppedAt> for StoppedProjection {
    fn from(stopped: StoppedAt) -> StoppedProjection {
        StoppedProjection { seq: stopped.seq, reason: stopped.error }
    }
}

/// Reads the status of every projection.
pub(crate) fn status(connection: &Connection) -> rusqlite::Result<Vec<ProjectionStatus>> {
    let head = rows::head(connection)?.seq;
    PROJECTIONS
        .iter()
        .map(|projection| {
            let live = tables::cursor(connection, projection.name, Stage::Live)?;
            let building = tables::cursor(connection, projection.name, Stage::Building)?;
            let position = live.as_ref().map_or(Seq::ZERO, |cursor| cursor.position);
            Ok(ProjectionStatus {
                name: projection.name,
                tables: projection.table_names(),
                version: live.as_ref().map(|cursor| cursor.version),
                known_version: projection.version,
                position,
                lag: head.get().saturating_sub(position.get()),
                stopped: live.and_then(|cursor| cursor.stopped).map(StoppedProjection::from),
                rebuild: building.map(|cursor| Rebuild {
                    version: cursor.version,
                    position: cursor.position,
                    stopped: cursor.stopped.map(StoppedProjection::from),
                }),
                left_out: tables::left_out(connection, projection.name)?
                    .into_iter()
                    .map(|LeftOut { name, table, error }| LeftOutObject { name, table, reason: error })
                    .collect(),
            })
        })
        .collect()
}

/// All read tables, in the order in which they are defined.
pub(crate) fn read_tables() -> impl Iterator<Item = &'static Table> {
    PROJECTIONS.iter().flat_map(|projection| projection.tables).filter(|table| table.is_read())
}
