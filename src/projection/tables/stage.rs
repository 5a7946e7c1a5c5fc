//! The two sets of tables that a projection can have.

use std::borrow::Cow;

/// A set of tables: the live ones, which people read, or those of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Live,
    Building,
}

impl Stage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Stage::Live => "live",
            Stage::Building => "building",
        }
    }

    /// The name of a table in this stage.
    pub(crate) fn table(self, name: &str) -> Cow<'_, str> {
        match self {
            Stage::Live => Cow::Borrowed(name),
            Stage::Building => Cow::Owned(format!("building_{name}")),
        }
    }
}
