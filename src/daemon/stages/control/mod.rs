//! Control: what an operator may do to a running event, as plain operations.
//!
//! In: a request of the admin socket or of the HTTP API, already decoded, and the [`Actor`] who made
//! it. Out: an [`Outcome`] with the number of its audit entry, or a
//! [`ControlError`] with a stable code.
//!
//! Always holds: a request that is refused has changed nothing and left no audit entry. A change is
//! recorded before anybody is told of it, and whoever is told is told in this order: nodes reload
//! what they check newcomers against, then connections are closed, so that a banned user who comes
//! back at once is refused. Only the nodes that hold a user are asked to touch the user's
//! connections; while the registry is down, all are.
//!
//! When full: nothing queues here. A node that does not answer in time is named in the outcome, and
//! catches up by its own periodic reload; a store or a log that does not answer is an error the
//! operator may retry.

mod actor;
mod cluster;
mod comments;
mod drain;
pub mod endpoint;
mod error;
#[cfg(test)]
pub(crate) mod fakes;
mod messages;
mod review;
mod sanctions;
mod streams;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;
mod users;
mod validate;
mod who;

use std::sync::Arc;

use tokio::time::Instant;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::bus::SharedBus;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::metadata::{NewAudit, SharedMetadataStore};
use crate::daemon::engines::registry::{CommandHandler, SharedRegistry};
use crate::protocol::NodeId;
use crate::protocol::admin::Outcome;

pub use actor::Actor;
pub use endpoint::LocalEndpoint;
pub use error::ControlError;
pub use tokens::Minter;

use cluster::Reached;

/// What the operations work on.
#[derive(Debug, Clone)]
pub struct ControlParts {
    /// The node that answers.
    pub node: NodeId,
    pub metadata: SharedMetadataStore,
    pub comments: SharedCommentStore,
    pub registry: SharedRegistry,
    /// This node's own end, so that it obeys even while the registry is down.
    pub endpoint: Arc<dyn CommandHandler>,
    pub log: SharedLog,
    pub bus: SharedBus,
    pub streams: Streams,
    pub clock: SharedClock,
}

/// The operations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    parts: Arc<ControlParts>,
}

impl Control {
    pub fn new(parts: ControlParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// What the operations work on, for whoever shows it.
    pub fn parts(&self) -> &ControlParts {
        &self.parts
    }

    /// An audit entry for a request that was found good. `request` is kept as it came.
    fn entry(
        &self,
        actor: &Actor,
        action: &'static str,
        target: String,
        request: &impl serde::Serialize,
    ) -> NewAudit {
        NewAudit {
            at: self.parts.clock.now_ms(),
            actor: actor.name().to_owned(),
            action,
            target,
            // Requests are structs of texts and numbers, which always have a JSON form.
            detail: serde_json::to_value(request).unwrap_or_default(),
        }
    }
}

/// The outcome of a change that is recorded under `audit_id` and was asked for at `started`.
fn outcome(audit_id: u64, reached: Reached, started: Instant) -> Outcome {
    Outcome {
        audit_id,
        connections: reached.connections,
        unreachable: reached.unreachable,
        elapsed_us: started.elapsed().as_micros() as u64,
        ..Outcome::default()
    }
}
