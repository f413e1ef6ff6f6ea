//! The daemons that an operator has named.
//!
//! The console is given them; where they are kept is not known here.

use crate::protocol::admin::ClusterColour;

/// A named daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    pub name: String,
    /// The socket or the address of its daemon.
    pub place: String,
    /// The colour of the cluster's name; absent: the one that the daemon tells.
    pub colour: Option<ClusterColour>,
    /// Acts cannot be unlocked.
    pub read_only: bool,
}
