//! Control: what an operator may do to a running event, as plain operations.
//!
//! In: a decoded request of the admin socket or the HTTP API, and the [`Actor`] who made it. Out:
//! an [`Outcome`] with the id of its audit entry, or a [`ControlError`] with a stable code.
//!
//! The way of a ban: [`Control::ban`] stores the sanction and sends two commands to nodes through
//! the registry (`cluster.rs`). Each node executes them with its [`LocalEndpoint`], which reloads
//! the sanctions and calls delivery
//! ([`ViewerSink::disconnect_user`](crate::daemon::base::handoff::ViewerSink::disconnect_user)) to
//! close the sockets.
//!
//! Always holds: a refused request has changed nothing and left no audit entry. A change is
//! recorded before any node acts on it. Nodes first reload the data that they check new viewers
//! against, and close connections afterwards, so that a banned user who reconnects at once is
//! refused. Only the nodes that hold a user receive commands about its connections; while the
//! registry is down, all do.
//!
//! When full: nothing is queued here. A node that does not answer in time is named in the outcome
//! and catches up by its periodic reload. A store or log that does not answer is a retryable error.

mod acknowledge;
mod actor;
pub mod admission;
mod alerts;
mod batch;
mod cluster;
mod comments;
mod comments_of_user;
mod dead_letters;
mod drain;
pub mod endpoint;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, reason = "a test may fail here")]
pub(crate) mod fakes;
pub mod grants;
mod messages;
mod moderators;
mod of_stream;
mod pin;
mod reputation;
mod restore;
mod review;
mod room;
mod room_polls;
mod room_terms;
mod sanctions;
mod search;
mod shadowed_comments;
mod shadows;
mod streams;
mod talkers;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;
mod undo;
mod users;
mod validate;
mod views;
mod who;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::problems::Problems;
use crate::daemon::base::single_flight::SingleFlight;
use crate::daemon::engines::bus::SharedBus;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::{Grants, Streams};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::metadata::{NewAudit, SharedMetadataStore};
use crate::daemon::engines::registry::{CommandHandler, SharedRegistry};
use crate::policy::reputation::ReputationRules;
use crate::protocol::admin::Outcome;
use crate::protocol::{NodeId, PollState, text};

pub use actor::Actor;
pub use comments_of_user::CommentsOfUser;
pub use dead_letters::OpenDeadLetters;
pub use endpoint::LocalEndpoint;
pub use error::ControlError;
pub use messages::UserMessage;
pub use tokens::{AdminMinter, Minter};

use cluster::CommandResults;
use review::{RecentDecisions, SharedQueue};
use room_polls::PollsKey;

/// Everything the operations work on.
#[derive(Debug, Clone)]
pub struct ControlParts {
    /// This node.
    pub node: NodeId,
    pub metadata: SharedMetadataStore,
    pub comments: SharedCommentStore,
    pub registry: SharedRegistry,
    /// Executes commands on this node, even while the registry is down.
    pub endpoint: Arc<dyn CommandHandler>,
    pub log: SharedLog,
    pub bus: SharedBus,
    pub streams: Streams,
    pub grants: Grants,
    pub clock: SharedClock,
    /// Those of this node.
    pub problems: Problems,
    /// `None` if users have no points.
    pub reputation: Option<ReputationRules>,
}

/// The operations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    parts: Arc<ControlParts>,
    recent: Arc<RecentDecisions>,
    queue: Arc<SharedQueue>,
    polls: SingleFlight<PollsKey, Result<Arc<[PollState]>, ControlError>>,
}

impl Control {
    pub fn new(parts: ControlParts) -> Self {
        let parts = Arc::new(parts);
        let polls = SingleFlight::default();
        Self { parts, recent: Arc::default(), queue: Arc::default(), polls }
    }

    /// Returns the parts, for code that displays them.
    pub fn parts(&self) -> &ControlParts {
        &self.parts
    }

    /// Returns the audit entry of a valid request, with its texts in their normal form.
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
            // Serializing structs of texts and numbers cannot fail.
            detail: with_normal_texts(serde_json::to_value(request).unwrap_or_default()),
            points: None,
        }
    }
}

/// Brings every text in a request into its normal form.
fn with_normal_texts(value: Value) -> Value {
    match value {
        Value::String(entered) => {
            let normal = text::normalize(&entered).map(Cow::into_owned);
            Value::String(normal.unwrap_or(entered))
        }
        Value::Array(values) => values.into_iter().map(with_normal_texts).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, with_normal_texts(value))).collect()
        }
        other => other,
    }
}

/// Returns the outcome of a change that was recorded under `audit_id` and requested at `started`.
/// Its callers add the user, and the number of connections where that was counted.
fn outcome(audit_id: u64, results: CommandResults, started: Instant) -> Outcome {
    Outcome {
        audit_id,
        unreachable: results.unreachable,
        elapsed_us: started.elapsed().as_micros() as u64,
        ..Outcome::default()
    }
}
