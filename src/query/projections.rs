//! The status of the projections.

use rusqlite::Connection;
use serde::Serialize;

use crate::event::Seq;
use crate::log::rows;
use crate::projection::tables::{self, LeftOut, PROJECTIONS, Stage, StoppedAt, Table};

/// Where a projection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// The tables that it fills.
    pub tables: Vec<&'static str>,
    /// Version of its tables in the file; None where the file has none yet.
    pub version: Option<u32>,
    /// The version that this version of Annals fills.
    pub known_version: u32,
    /// The last event that its tables hold.
    pub position: Seq,
    /// Events of the log that its tables do not hold yet.
    pub lag: u64,
    /// Why it does not go on.
    pub stopped: Option<StoppedProjection>,
    /// The rebuild that is under way.
    pub rebuild: Option<Rebuild>,
    /// Indexes and triggers of others that could not be made again on its tables; the next rebuild tries it again.
    pub left_out: Vec<LeftOutObject>,
}

/// An index or a trigger of somebody else that could not be made again on a read table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct LeftOutObject {
    /// Its name.
    pub name: String,
    /// The table that it was on.
    pub table: String,
    /// Why it could not be made.
    pub reason: String,
}

/// Why a projection does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StoppedProjection {
    /// The event that it cannot apply.
    pub seq: Seq,
    /// Why not.
    pub reason: String,
}

/// A rebuild that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Rebuild {
    /// Version of the tables that it fills.
    pub version: u32,
    /// The last event that they hold.
    pub position: Seq,
    /// Why it does not go on.
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
    PROJECTIONS.iter().flat_map(|projection| projection.tables)
}
