//! The promises of the operations, tested with contracts in memory.

mod changes;
mod comments;
mod nodes;
mod sanctions;
mod streams;
mod users;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::base::handoff::ThrottleOrder;
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::registry::NodeCommand;
use crate::daemon::engines::registry::conformance::report;
use crate::daemon::stages::control::fakes::{STARTED_MS, World, comment_id, operator, submitted};
use crate::protocol::admin::*;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::{Decision, Event};
use crate::protocol::room::RoomPatch;
use crate::protocol::stream::{NewStream, StreamPatch, StreamState};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{ErrorCode, Identity, NodeId, Role, StreamId, UserId, UserScope};

fn user(text: &str) -> UserRef {
    UserRef(text.to_owned())
}

fn sanction(who: &str, duration_ms: Option<u64>) -> SanctionRequest {
    SanctionRequest {
        user: user(who),
        stream_id: None,
        reason: Some("spam".to_owned()),
        note: None,
        duration_ms,
    }
}

fn lifting(who: &str, stream_id: Option<StreamId>) -> UnbanRequest {
    UnbanRequest { user: user(who), stream_id, note: None }
}

fn about(who: &str) -> UserRequest {
    UserRequest { user: user(who), note: None }
}

fn decision(number: u64) -> ReviewRequest {
    ReviewRequest { comment_id: comment_id(number), reason: None, note: None }
}

fn delete(number: u64, reason: Option<&str>) -> DeleteRequest {
    DeleteRequest {
        comment_id: comment_id(number),
        reason: reason.map(str::to_owned),
        note: Some("reported by ann@example.org".to_owned()),
    }
}

fn events(world: &World, topic: Topic) -> Vec<Event> {
    world.log.events(topic).into_iter().map(|(_, event)| event).collect()
}

fn minter() -> Minter {
    Arc::new(|identity: &Identity, _, ttl| {
        Ok::<_, ErrorBody>(format!("{}/{}/{}", identity.user_id, identity.name, ttl.as_secs()))
    })
}
