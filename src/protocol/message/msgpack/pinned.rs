//! The pinned comment in MessagePack.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{bytes, whole_id};
use crate::protocol::{Badges, PinnedComment, UserId};

/// `[comment_id, user_id, name, message, created_at, badges, pinned_at]`. New fields are added at
/// the end and have a default.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactPinned {
    comment_id: ByteBuf,
    user_id: u64,
    name: Arc<str>,
    message: Arc<str>,
    created_at: u64,
    badges: Badges,
    pinned_at: u64,
}

impl From<&PinnedComment> for CompactPinned {
    fn from(pinned: &PinnedComment) -> Self {
        Self {
            comment_id: bytes(pinned.comment_id),
            user_id: pinned.user_id.0,
            name: pinned.name.clone(),
            message: pinned.message.clone(),
            created_at: pinned.created_at,
            badges: pinned.badges,
            pinned_at: pinned.pinned_at,
        }
    }
}

impl CompactPinned {
    pub(super) fn expand(self) -> Result<Arc<PinnedComment>, rmp_serde::decode::Error> {
        Ok(Arc::new(PinnedComment {
            comment_id: whole_id(&self.comment_id)?,
            user_id: UserId(self.user_id),
            name: self.name,
            message: self.message,
            created_at: self.created_at,
            badges: self.badges,
            pinned_at: self.pinned_at,
        }))
    }
}
