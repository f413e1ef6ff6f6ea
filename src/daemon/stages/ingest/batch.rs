//! A batch of submissions between their checks and their replies.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::refs::{FirstError, RefKey};
use super::rooms::RoomShare;
use crate::daemon::base::handoff::{Accepted, ReplyTo, Submission};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::CommentSubmitted;
use crate::protocol::{Comment, StreamId};

/// A comment that passed every check.
pub(super) struct AdmittedComment {
    pub(super) comment: Arc<Comment>,
    /// Shown only to its sender.
    pub(super) shadow: bool,
    /// Already checked by moderation.
    pub(super) screened: bool,
    pub(super) share: RoomShare,
    /// It was sent before, so the log may have it already.
    pub(super) is_retry: bool,
}

/// A submission that has to be answered. Replies are sent in the order of submissions, so even an
/// outcome that is known at once waits for earlier ones.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) reply_to: ReplyTo,
    pub(super) client_ref: Option<Arc<str>>,
    pub(super) key: Option<RefKey>,
    pub(super) outcome: OutcomeSource,
}

/// The origin of the outcome of a submission.
#[derive(Debug)]
pub(super) enum OutcomeSource {
    /// The append of the record at this index of the batch. The log may have an earlier record of
    /// a retry, which is then the one that readers keep.
    Appended { index: usize, comment: Arc<Comment>, share: RoomShare, is_retry: bool },
    /// The original of this repeat, in this or an earlier batch.
    Repeated(FirstError),
    /// It is known already, without the log.
    Known(Result<Accepted, ErrorBody>),
}

/// A batch, until it is appended.
#[derive(Default)]
pub(super) struct Batch {
    /// Become records once their ids are final.
    pub(super) drafts: Vec<CommentSubmitted>,
    pub(super) pending: Vec<PendingReply>,
}

impl Batch {
    pub(super) fn push_draft(
        &mut self,
        submission: Submission,
        admitted: AdmittedComment,
        key: Option<RefKey>,
    ) {
        let AdmittedComment { comment, shadow, screened, share, is_retry } = admitted;
        let index = self.drafts.len();
        self.drafts.push(CommentSubmitted {
            comment: comment.clone(),
            role: submission.identity.role,
            client_ref: submission.client_ref.clone(),
            shadow,
            screened,
        });
        self.pending.push(PendingReply {
            reply_to: submission.reply_to,
            client_ref: submission.client_ref,
            key,
            outcome: OutcomeSource::Appended { index, comment, share, is_retry },
        });
    }

    /// Returns the comments to be appended that take something of their rooms.
    pub(super) fn claimants(&self) -> Vec<(Arc<Comment>, RoomShare)> {
        let claimant = |waiting: &PendingReply| match &waiting.outcome {
            OutcomeSource::Appended { comment, share, .. } if !share.is_empty() => {
                Some((comment.clone(), *share))
            }
            _ => None,
        };
        self.pending.iter().filter_map(claimant).collect()
    }

    /// Returns the streams with comments that the log may have had before.
    pub(super) fn streams_with_retries(pending: &[PendingReply]) -> BTreeSet<StreamId> {
        let stream_id = |waiting: &PendingReply| match &waiting.outcome {
            OutcomeSource::Appended { comment, is_retry: true, .. } => Some(comment.stream_id),
            _ => None,
        };
        pending.iter().filter_map(stream_id).collect()
    }

    /// Answers comments that are in the log already, and does not append them.
    pub(super) fn accept_known(&mut self, known: impl Fn(&RefKey) -> Option<Accepted>) {
        self.take_out(|waiting, _| waiting.key.as_ref().and_then(&known).map(Ok));
    }

    /// Refuses comments, which are then not appended. Returns their refs and errors: a comment's id
    /// may not be the one with which it was admitted.
    pub(super) fn refuse(
        &mut self,
        refusal: impl Fn(&Comment) -> Option<ErrorBody>,
    ) -> Vec<(RefKey, ErrorBody)> {
        self.take_out(|_, comment| refusal(comment).map(Err))
    }

    /// Does not append the comments that have an outcome without the log. Returns the refs of those
    /// that are refused, and their errors.
    fn take_out(
        &mut self,
        outcome_of: impl Fn(&PendingReply, &Comment) -> Option<Result<Accepted, ErrorBody>>,
    ) -> Vec<(RefKey, ErrorBody)> {
        let mut refused = Vec::new();
        let mut new_index = Vec::with_capacity(self.drafts.len());
        let mut kept = 0;
        let mut is_known = vec![false; self.drafts.len()];
        for waiting in &mut self.pending {
            let OutcomeSource::Appended { index, comment, .. } = &waiting.outcome else { continue };
            if let Some(outcome) = outcome_of(waiting, comment) {
                is_known[*index] = true;
                if let (Some(key), Err(error)) = (&waiting.key, &outcome) {
                    refused.push((key.clone(), error.clone()));
                }
                waiting.outcome = OutcomeSource::Known(outcome);
            }
        }
        for known in &is_known {
            new_index.push(kept);
            kept += usize::from(!known);
        }
        for waiting in &mut self.pending {
            if let OutcomeSource::Appended { index, .. } = &mut waiting.outcome {
                *index = new_index[*index];
            }
        }
        let mut is_known = is_known.into_iter();
        self.drafts.retain(|_| !is_known.next().unwrap_or(false));
        refused
    }

    pub(super) fn push_outcome(
        &mut self,
        submission: Submission,
        outcome: Result<Accepted, ErrorBody>,
    ) {
        let Submission { reply_to, client_ref, .. } = submission;
        let outcome = OutcomeSource::Known(outcome);
        self.pending.push(PendingReply { reply_to, client_ref, key: None, outcome });
    }
}
