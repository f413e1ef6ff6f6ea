//! Claims of and decisions on items of the review queue: one rule for every engine.

use crate::daemon::engines::StoreError;
use crate::protocol::admin::{REOPENED, ReviewEvidence, ReviewItem};
use crate::protocol::events::Decision;
use crate::protocol::room::UNCHECKED;
use crate::protocol::{CommentId, StreamId, UserId};

/// Other items with the same text are counted up to this number.
pub const MAX_ALIKE: u64 = 100;

/// A comment to queue for review.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReview {
    pub item: ReviewItem,
    /// Texts that are alike have the same key: see
    /// [`alike_key`](crate::protocol::text::alike_key).
    pub text_key: i64,
}

/// A claim to store, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewClaim<'a> {
    pub comment_id: CommentId,
    pub by: &'a str,
    /// Claims that have run out by now count no longer. Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// When the claim runs out; `None` ends it now.
    pub expires_at: Option<u64>,
}

/// A decision to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewVerdict<'a> {
    pub comment_id: CommentId,
    pub decision: Decision,
    /// The reason that the item must have, so that a decision made for another one is refused;
    /// `None` allows any.
    pub expected_reason: Option<&'a str>,
    /// The reason of the decision; `None` if it is that of the item.
    pub reason: Option<&'a str>,
    /// The stream that the item must belong to; `None` allows any.
    pub expected_stream: Option<StreamId>,
    /// Whether the item is published as if its author sent it now. The decision is refused then
    /// while a ban or a timeout of the author is in force, and the item counts as
    /// [shadowed](ReviewItem::shadowed), for the event and in the answer, while a shadow is. Both
    /// are read in the transaction that decides, at the time of the audit entry: a ban whose
    /// transaction ended earlier is always seen.
    pub as_author: bool,
}

impl NewVerdict<'_> {
    /// Returns a decision on an item, whatever its reason and its stream are.
    pub fn new(comment_id: CommentId, decision: Decision) -> Self {
        Self {
            comment_id,
            decision,
            expected_reason: None,
            reason: None,
            expected_stream: None,
            as_author: false,
        }
    }
}

/// Another reason of an undecided item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewReason<'a> {
    pub comment_id: CommentId,
    /// The reason that the item must have, so that of two changes at once one is made.
    pub expected: &'a str,
    pub reason: &'a str,
    /// Replaces that of the item, unless it says nothing.
    pub evidence: &'a ReviewEvidence,
}

/// The effect of a deletion, or of what takes one back, on the review of the comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewChange {
    /// If the comment waits and is not held, it waits no longer, whoever has claimed it. The item
    /// counts as rejected by the actor, and is not listed among the decided ones: nobody has
    /// decided about it in the queue. A comment that is not queued yet is withdrawn when it is
    /// queued: moderation may be behind the person who deletes.
    Withdraw(CommentId),
    /// An item that was withdrawn waits again, unclaimed. One that was not queued since is queued
    /// as any other from now on.
    PutBack(CommentId),
}

/// The reason of the decision on an item that was withdrawn. Others are words. It is also the
/// reason of an item that was withdrawn before it was queued. Nothing but its id is known of such
/// an item, and it counts as never queued.
pub(super) const WITHDRAWN: &str = "(deleted)";

/// A choice of held comments in the review queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldReviews {
    /// Those that no stage has checked: their reason is [`UNCHECKED`]. The order is that of their
    /// creation; only those behind `after` are chosen.
    Unchecked { after: Option<CommentId> },
    /// Those that have waited since before a time (milliseconds since the Unix epoch), the longest
    /// first. One whose decision was taken back waits since then.
    WaitingSince(u64),
}

/// The held comments that are counted: those of a user and of a stream, where one is named, that
/// were written since a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldScope {
    pub user_id: Option<UserId>,
    pub stream_id: Option<StreamId>,
    /// By the time of the comment's id. Milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// The decision on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewVerdict {
    pub decision: Decision,
    pub by: String,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// `None` if it is that of the item.
    pub reason: Option<String>,
}

/// A decided item.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedReview {
    pub item: ReviewItem,
    pub verdict: ReviewVerdict,
}

impl DecidedReview {
    /// Returns the reason of the decision.
    pub fn reason(&self) -> &str {
        self.verdict.reason.as_deref().unwrap_or(&self.item.reason)
    }
}

/// A reason why a change of an item is refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewRefusal {
    #[error("the comment was never queued for review")]
    NotQueued,
    /// Somebody else has claimed it.
    #[error("the comment is claimed by {by}")]
    Claimed { by: String, expires_at: u64 },
    #[error("the comment was decided by {}", .0.by)]
    Decided(ReviewVerdict),
    #[error("the comment is not decided")]
    NotDecided,
    /// It is not the one that the decision is about.
    #[error("the comment waits for another reason")]
    OtherReason,
    #[error("the comment is of another stream")]
    OtherStream,
    #[error("the author of the comment is banned or timed out")]
    AuthorSanctioned,
}

/// An error of a change of the review queue.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReviewError {
    #[error(transparent)]
    Refused(#[from] ReviewRefusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReviewError {
    /// Returns whether the store did not carry out what a store that works would have.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_failure())
    }
}

/// The answer of an engine, in which a refusal is no failure of the store.
pub(super) type Checked<T> = Result<Result<T, ReviewRefusal>, StoreError>;

/// Makes one error of both.
pub(super) fn flatten<T>(checked: Checked<T>) -> Result<T, ReviewError> {
    Ok(checked??)
}

/// Returns the reason of an item whose decision is taken back. One that no stage had checked waits
/// for a person then, so that moderation does not decide about it again.
pub(super) fn reopened_reason(item: &ReviewItem) -> &str {
    if item.reason == UNCHECKED { REOPENED } else { &item.reason }
}

/// The sanctions and shadows of an author that are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuthorStanding {
    /// A ban or a timeout on the stream of the item, or on all streams, is in force.
    pub(super) is_sanctioned: bool,
    /// A shadow on the stream of the item, or on all streams, is in force.
    pub(super) is_shadowed: bool,
}

/// An item as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredReview {
    pub(super) item: ReviewItem,
    pub(super) verdict: Option<ReviewVerdict>,
}

impl StoredReview {
    /// Checks that an actor may claim or decide the item now.
    pub(super) fn check(&self, actor: &str, now_ms: u64) -> Result<(), ReviewRefusal> {
        if let Some(verdict) = &self.verdict {
            return Err(ReviewRefusal::Decided(verdict.clone()));
        }
        match (self.item.holder(now_ms), self.item.claim_expires_at) {
            (Some(by), Some(expires_at)) if by != actor => {
                Err(ReviewRefusal::Claimed { by: by.to_owned(), expires_at })
            }
            _ => Ok(()),
        }
    }

    /// Checks that an actor may make this decision now.
    pub(super) fn check_verdict(
        &self,
        new: &NewVerdict<'_>,
        actor: &str,
        now_ms: u64,
    ) -> Result<(), ReviewRefusal> {
        // The first, so that nothing is told about an item of another stream.
        if new.expected_stream.is_some_and(|stream_id| stream_id != self.item.stream_id) {
            return Err(ReviewRefusal::OtherStream);
        }
        self.check(actor, now_ms)?;
        if new.expected_reason.is_some_and(|reason| reason != self.item.reason) {
            return Err(ReviewRefusal::OtherReason);
        }
        Ok(())
    }

    /// Checks that the author may publish the item, and marks it if only the author would see it.
    pub(super) fn check_author(&mut self, author: AuthorStanding) -> Result<(), ReviewRefusal> {
        if author.is_sanctioned {
            return Err(ReviewRefusal::AuthorSanctioned);
        }
        self.item.shadowed |= author.is_shadowed;
        Ok(())
    }
}
