//! Points of users: what a change says of them, the same for every engine.
//!
//! An operator's change that costs points, or takes them back, says so in its audit entry
//! ([`NewAudit::points`](super::NewAudit)), and the engine stores both in one transaction. A
//! moderation worker counts comments with
//! [`count_points`](super::MetadataStore::count_points). Both name the cause, which counts once.

use crate::policy::reputation::{PointAmount, PointChange, Reputation, text_key};
use crate::protocol::admin::{REOPENED, ReviewItem};
use crate::protocol::room::UNCHECKED;
use crate::protocol::{CommentId, UserId};

/// Users that one call of [`known_users`](super::MetadataStore::known_users) looks up at most.
pub const MAX_LOOKED_UP: usize = 4_096;

/// The reason for a change of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointCause {
    /// A comment, however often and by whomever it is removed.
    Comment(CommentId),
    /// The audit entry of this number.
    Entry(u64),
    /// The audit entry that is stored with the change.
    ThisEntry,
}

impl PointCause {
    /// Returns the name under which it is stored. `audit_id` is the number of the entry that is
    /// stored with it.
    fn name(self, audit_id: u64) -> String {
        match self {
            Self::Comment(comment_id) => format!("comment {comment_id}"),
            Self::Entry(number) => format!("entry {number}"),
            Self::ThisEntry => format!("entry {audit_id}"),
        }
    }
}

/// The change of a user's points by an audit entry. It replaces the earlier one of the same cause.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPoints {
    /// `None` for the author of an item of the review queue, whom only the store knows for certain.
    pub user_id: Option<UserId>,
    pub cause: PointCause,
    pub amount: PointAmount,
    /// See [`text_key`].
    pub text: Option<u32>,
    pub half_life_ms: u64,
}

impl AuditPoints {
    /// Returns the change, once the entry has its number. `at` is the time of the entry.
    pub(super) fn change(&self, audit_id: u64, at: u64) -> Option<UserPointChange> {
        let change = PointChange {
            cause: self.cause.name(audit_id),
            amount: self.amount,
            text: self.text,
            at,
            replaces: true,
        };
        Some(UserPointChange { user_id: self.user_id?, change })
    }

    /// Returns the same, about the author of an item. `None` if an item gives points back that no
    /// stage had flagged: it was held because it was not checked, which cost nothing.
    pub(super) fn of_author(self, item: &ReviewItem) -> Option<Self> {
        let gives_back = matches!(self.amount, PointAmount::Exactly(points) if points < 0.0);
        if gives_back && [UNCHECKED, REOPENED].contains(&&*item.reason) {
            return None;
        }
        Some(Self { user_id: Some(item.user_id), text: text_key(&item.message), ..self })
    }
}

/// A change of the points of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct UserPointChange {
    pub user_id: UserId,
    pub change: PointChange,
}

impl UserPointChange {
    /// Returns the change that a moderation stage makes for a comment. A comment that was counted
    /// before changes nothing.
    pub fn of_comment(
        user_id: UserId,
        comment_id: CommentId,
        points: f64,
        text: Option<u32>,
        at: u64,
    ) -> Self {
        let cause = PointCause::Comment(comment_id).name(0);
        let amount = PointAmount::Exactly(points);
        Self { user_id, change: PointChange { cause, amount, text, at, replaces: false } }
    }
}

/// A user as the store knows it, as far as moderation asks.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownUser {
    pub user_id: UserId,
    /// False for a user that has points, but whose name was not stored yet.
    pub is_recorded: bool,
    /// When the account was created, in milliseconds since the Unix epoch; `None` if no token said.
    pub account_created: Option<u64>,
    pub reputation: Reputation,
}
