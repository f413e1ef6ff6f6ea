//! Which comments were already accepted under which `ref`.

use std::sync::Arc;

use moka::sync::Cache;

use crate::daemon::config::IngestConfig;
use crate::protocol::events::CommentSubmitted;
use crate::protocol::{CommentId, Seq, StreamId, UserId};

/// What makes a submission the same as an earlier one.
pub type RefKey = (UserId, StreamId, Arc<str>);

/// At most this many refs are remembered; at very high rates that is less than their lifetime
/// (50 000 comments a second with refs: 20 s), which a lost ack's retry still falls into.
const MAX_REFS: u64 = 1_000_000;

/// The refs of the last minutes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refs(Cache<RefKey, (CommentId, Seq)>);

impl Refs {
    pub fn new(config: &IngestConfig) -> Self {
        Self(Cache::builder().max_capacity(MAX_REFS).time_to_live(config.ref_lifetime).build())
    }

    pub fn get(&self, key: &RefKey) -> Option<(CommentId, Seq)> {
        self.0.get(key)
    }

    pub fn remember(&self, key: RefKey, comment_id: CommentId, seq: Seq) {
        self.0.insert(key, (comment_id, seq));
    }

    /// Takes note of a comment read back from the log.
    pub fn remember_event(&self, event: &CommentSubmitted, seq: Seq) {
        if let Some(client_ref) = &event.client_ref {
            let comment = &event.comment;
            let key = (comment.user_id, comment.stream_id, client_ref.clone());
            self.remember(key, comment.comment_id, seq);
        }
    }
}
