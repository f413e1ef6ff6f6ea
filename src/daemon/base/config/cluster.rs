//! `[cluster]`: how operators of several clusters tell this one from the others.

use serde::{Deserialize, Serialize};

use crate::protocol::admin::ClusterColour;

/// The name of the cluster and its colour, which `lc top` and `lc status` show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// At most 32 letters, digits, dots, dashes and underscores. Empty: the cluster has no name,
    /// and the node's is shown.
    pub name: String,
    /// The colour of the name. Absent: that of other titles.
    pub colour: Option<ClusterColour>,
}

/// Characters of a name, so that it fits into the first row of a console.
pub(super) const MAX_NAME_CHARS: usize = 32;

impl ClusterConfig {
    /// Returns the name, if there is one.
    pub fn name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !name.is_empty())
    }

    /// Returns whether the name may be shown anywhere.
    pub(super) fn has_valid_name(&self) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        self.name.len() <= MAX_NAME_CHARS && self.name.chars().all(allowed)
    }
}
