//! The daemons that an operator has named, which the console can attach to.
//!
//! The console is given them; where they are kept is not known here.

use std::fmt;

use crate::client::admin::AdminClient;
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

/// A context with a client of its daemon.
#[derive(Debug, Clone)]
pub struct OpenedContext {
    pub entry: ContextEntry,
    pub client: AdminClient,
}

/// Says that no context has a name, and which ones there are.
pub fn no_such_context<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known = known.collect::<Vec<_>>().join(", ");
    match known.as_str() {
        "" => format!("there is no context `{name}`; lc ctx add {name} SOCKET makes it"),
        known => format!("there is no context `{name}`; there are {known}"),
    }
}

/// The place where an operator keeps contexts. Errors are sentences for the operator.
pub trait ContextSource: fmt::Debug + Send + Sync {
    /// Returns the contexts, by name.
    ///
    /// # Errors
    /// They cannot be read.
    fn list(&self) -> Result<Vec<ContextEntry>, String>;

    /// Returns a context with a client, which is not connected yet.
    ///
    /// # Errors
    /// There is no such context, or its files cannot be used.
    fn open(&self, name: &str) -> Result<OpenedContext, String>;
}
