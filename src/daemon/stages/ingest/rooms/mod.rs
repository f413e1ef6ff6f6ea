//! The rules of rooms, held against comments before they are appended.
//!
//! In: comments, and the rules of their streams. Out: the refusal of a comment that breaks one.
//! [`crate::policy::room`] decides; [`memory`] knows what was said on this node, and
//! [`crate::daemon::engines::reservations`] what was said on the others.

mod memory;

use std::sync::Arc;

use ahash::AHashMap;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::handoff::LinkFinder;
use crate::daemon::engines::reservations::{Claim, ClaimKey, Claimed, SharedReservations};
use crate::policy::room::{self, RoomComment, RoomRefusal, TextFacts};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::quantity::show_duration;
use crate::protocol::room::RoomRules;
use crate::protocol::{Comment, CommentId, ErrorCode, Identity, StreamId, text};

pub use memory::RoomMemory;
pub(super) use memory::RoomShare;
use memory::TextShare;

/// The rules of rooms on this node.
#[derive(Debug)]
pub(super) struct Rooms {
    memory: RoomMemory,
    links: Arc<dyn LinkFinder>,
    clock: SharedClock,
    /// Claims of comments that were not stored, until the other nodes are told.
    unused: Vec<Claim>,
}

impl Rooms {
    pub(super) fn new(memory: RoomMemory, links: Arc<dyn LinkFinder>, clock: SharedClock) -> Self {
        Self { memory, links, clock, unused: Vec::new() }
    }

    /// Checks a comment against the rules of its room. Returns what the comment takes of the room
    /// if it is accepted.
    pub(super) fn check(
        &self,
        stream_id: StreamId,
        rules: &RoomRules,
        identity: &Identity,
        message: &str,
    ) -> Result<RoomShare, ErrorBody> {
        if rules.is_open() || room::is_exempt(identity.role) {
            return Ok(RoomShare::default());
        }
        let share = RoomShare::new(rules, message);
        let user_id = identity.user_id;
        let since_said_ms = |hash| self.memory.since_said_ms(stream_id, user_id, hash);
        let said = share.text.and_then(|text| since_said_ms(text.hash));
        let comment = RoomComment {
            role: identity.role,
            standing: identity.standing,
            now_ms: self.clock.now_ms(),
            since_last_ms: self.memory.since_last_ms(stream_id, user_id),
            since_said_ms: said,
            text: TextFacts {
                is_emotes_only: &|| text::is_emotes_only(message),
                has_link: &|| self.links.has_link(message),
            },
        };
        room::check(rules, &comment).map_err(refused)?;
        Ok(share)
    }

    /// Remembers a comment that was accepted.
    pub(super) fn take(&mut self, share: &RoomShare, comment: &Comment) {
        if !share.is_empty() {
            self.memory.take(share, comment);
        }
    }

    /// Notes that only its author sees a comment that was accepted: others may say its text.
    /// Returns what it takes of the room then.
    pub(super) fn hide(&mut self, share: &RoomShare, comment: &Comment) -> RoomShare {
        if share.is_empty() { *share } else { self.memory.hide(share, comment) }
    }

    /// Notes that a comment that was accepted has another id now.
    pub(super) fn rename(&mut self, share: &RoomShare, comment: &Comment, to: CommentId) {
        if !share.is_empty() {
            self.memory.rename(share, comment, to);
        }
    }

    /// Forgets a comment that was not stored after all. [`Self::release`] tells the other nodes.
    pub(super) fn give_back(&mut self, share: &RoomShare, comment: &Comment) {
        if !share.is_empty() {
            self.memory.give_back(share, comment);
            self.unused.extend(claims(share, comment));
        }
    }

    /// Forgets a comment that was refused before anything was claimed for it.
    pub(super) fn forget(&mut self, share: &RoomShare, comment: &Comment) {
        if !share.is_empty() {
            self.memory.give_back(share, comment);
        }
    }

    /// Claims over all nodes what comments take of their rooms. Returns the refusals of those that
    /// lose to a comment of another node.
    pub(super) async fn claim(
        &mut self,
        reservations: &SharedReservations,
        claimants: Vec<(Arc<Comment>, RoomShare)>,
    ) -> AHashMap<CommentId, ErrorBody> {
        let all: Vec<_> =
            claimants.iter().flat_map(|(comment, share)| claims(share, comment)).collect();
        if all.is_empty() {
            return AHashMap::new();
        }
        let mut answers = reservations.claim(all).await.into_iter();
        let mut losers = AHashMap::new();
        for (comment, share) in claimants {
            let lost = self.lost(&share, &comment, &mut answers);
            if let Some(refusal) = lost {
                // It may have won the other of its two claims.
                self.unused.extend(claims(&share, &comment));
                losers.insert(comment.comment_id, refused(refusal));
            }
        }
        self.release(reservations).await;
        losers
    }

    /// Reads the answers to the claims of a comment. Returns the refusal with the longest wait, if
    /// it lost any.
    fn lost(
        &mut self,
        share: &RoomShare,
        comment: &Comment,
        answers: &mut impl Iterator<Item = Claimed>,
    ) -> Option<RoomRefusal> {
        let mut wait_ms = || match answers.next() {
            Some(Claimed::Taken { wait_ms }) => Some(wait_ms),
            Some(Claimed::Free | Claimed::Unknown) | None => None,
        };
        let turn = share.slow_ms.and_then(|slow_ms| Some((slow_ms, wait_ms()?)));
        let said = share.text.and_then(|text| Some((text, wait_ms()?)));
        if turn.is_some() || said.is_some() {
            self.memory.give_back(share, comment);
        }
        if let Some((text, wait_ms)) = said {
            self.memory.text_is_taken(comment, text, wait_ms);
        }
        if let Some((slow_ms, wait_ms)) = turn {
            self.memory.turn_is_taken(comment, slow_ms, wait_ms);
        }
        let slow = turn.map(|(_, wait_ms)| RoomRefusal::Slow { wait_ms });
        let said = said.map(|(_, wait_ms)| RoomRefusal::SaidBefore { wait_ms });
        room::longest([slow, said])
    }

    /// Frees on all nodes what comments had claimed that were not stored.
    pub(super) async fn release(&mut self, reservations: &SharedReservations) {
        if !self.unused.is_empty() {
            reservations.release(std::mem::take(&mut self.unused)).await;
        }
    }

    /// Drops claims that no other node has to be told of.
    pub(super) fn forget_unused(&mut self) {
        self.unused.clear();
    }
}

/// Returns the claims of a comment: first that of its turn, then that of its text.
fn claims(share: &RoomShare, comment: &Comment) -> impl Iterator<Item = Claim> + use<> {
    let Comment { stream_id, user_id, comment_id, .. } = *comment;
    let turn = share.slow_ms.map(|for_ms| {
        let key = ClaimKey::Turn { stream_id, user_id };
        Claim { key, also_met: None, comment_id, for_ms }
    });
    let said = share.text.map(|TextShare { hash, author, unique_ms: for_ms }| {
        let key = ClaimKey::Text { stream_id, hash, author };
        // Authors see the comments of all and their own hidden ones. An answer that heeded only
        // one of them would tell which of their comments are hidden.
        let other = if author.is_some() { None } else { Some(user_id) };
        let also_met = Some(ClaimKey::Text { stream_id, hash, author: other });
        Claim { key, also_met, comment_id, for_ms }
    });
    turn.into_iter().chain(said)
}

/// Returns the error for the sender.
fn refused(refusal: RoomRefusal) -> ErrorBody {
    let wait = |ms: u64| show_duration(ms.div_ceil(1_000) * 1_000);
    match refusal {
        RoomRefusal::SubscribersOnly => {
            let text = "only subscribers may comment in this room now";
            ErrorBody::new(ErrorCode::SubscribersOnly, text)
        }
        RoomRefusal::FollowersOnly { wait_ms: None } => {
            let text = "only followers may comment in this room now";
            ErrorBody::new(ErrorCode::FollowersOnly, text)
        }
        RoomRefusal::FollowersOnly { wait_ms: Some(wait_ms) } => {
            let text = format!("you follow too recently for this room; wait {}", wait(wait_ms));
            ErrorBody::new(ErrorCode::FollowersOnly, text).retry_after_ms(wait_ms)
        }
        RoomRefusal::EmotesOnly => {
            let text = "only emoji and emotes such as :name: are allowed in this room now";
            ErrorBody::new(ErrorCode::EmotesOnly, text)
        }
        RoomRefusal::Links => {
            ErrorBody::new(ErrorCode::LinksRefused, "links are not allowed in this room now")
        }
        RoomRefusal::Slow { wait_ms } => {
            let text = format!("this room is in slow mode; wait {}", wait(wait_ms));
            ErrorBody::new(ErrorCode::SlowMode, text).retry_after_ms(wait_ms)
        }
        RoomRefusal::SaidBefore { wait_ms } => {
            let text = "this was said in the room already; say something else";
            ErrorBody::new(ErrorCode::SaidBefore, text).retry_after_ms(wait_ms)
        }
    }
}
