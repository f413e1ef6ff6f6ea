//! The events of the event log and their encoding as MessagePack arrays. New fields are added at
//! the end and have a default, so that logs of earlier versions stay readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::comment::{Comment, Deletion};
use super::{CommentId, Role, StreamId, UserId, tolerant};

/// One event of `comment_events` (keyed by stream) or `moderation_events` (keyed by user).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    CommentSubmitted(CommentSubmitted),
    CommentModerated(CommentModerated),
    CommentRestored(CommentRestored),
}

/// A comment that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentSubmitted {
    pub comment: Arc<Comment>,
    pub role: Role,
    /// The `ref` of the client, by which a repeated submission is recognized.
    #[serde(default)]
    pub client_ref: Option<Arc<str>>,
    /// True if only the sender sees the comment.
    #[serde(default)]
    pub shadow: bool,
    /// True if moderation has already checked the comment before it was appended.
    #[serde(default)]
    pub screened: bool,
}

impl CommentSubmitted {
    /// Returns the `ref` of a comment that a review releases, by which an approval that is appended
    /// twice is shown once. No client can send it, because no client knows the id before.
    pub fn released_ref(comment_id: CommentId) -> Arc<str> {
        format!("review:{comment_id}").into()
    }

    /// Returns whether a review released the comment, which may have been long after its creation.
    pub fn is_released(&self) -> bool {
        let client_ref = self.client_ref.as_deref();
        client_ref.is_some_and(|client_ref| {
            client_ref.starts_with("review:")
                && *client_ref == *Self::released_ref(self.comment.comment_id)
        })
    }
}

/// A decision of a moderation stage or an operator about a comment that is already in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentModerated {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub decision: Decision,
    /// A stable code such as `blocked_word`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The moderation stage or the operator.
    pub decided_by: Arc<str>,
    /// The name and the text that moderators are shown, and what was measured of the comment; only
    /// in `moderation_events`.
    #[serde(default)]
    pub text: Option<ModeratedText>,
    /// True if nobody but the author saw the comment at that time, so that nobody else has to be
    /// told of its deletion.
    #[serde(default)]
    pub was_hidden: bool,
    /// True if a person deleted it together with all others of a room or of a user, so that the
    /// deletion says nothing about its text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_bulk: bool,
}

/// A person took back the deletions of a comment that come before this in the log. Later ones
/// count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentRestored {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    /// The note of the operator; viewers are not shown it.
    pub reason: Option<Arc<str>>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// The operator.
    pub restored_by: Arc<str>,
    /// True if a decision hid the comment from others before the deletion that is taken back: the
    /// log has [`Self::hiding`] next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays_hidden: bool,
}

/// The comment that a decision was about, as moderators are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeratedText {
    pub name: Arc<str>,
    pub message: Arc<str>,
    /// Measured by the moderation stage that decided; `None` if a person decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl ModeratedText {
    /// Returns the text that a person decided about.
    pub fn new(name: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), message: message.into(), evidence: None }
    }
}

impl From<&Comment> for ModeratedText {
    fn from(comment: &Comment) -> Self {
        Self::new(comment.name.clone(), comment.message.clone())
    }
}

/// The measurements that a moderation stage decided by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The stage that decided.
    pub stage: Arc<str>,
    /// The confidence of that stage, if it measures one.
    #[serde(default)]
    pub score: Option<Score>,
    /// All that the stages measured that were asked, by name, such as `toxicity`.
    #[serde(default)]
    pub scores: BTreeMap<Arc<str>, Score>,
    /// The version of the model that measured it.
    #[serde(default)]
    pub model: Option<Arc<str>>,
}

/// A share of 0 to 1 in ten-thousandths, as a moderation stage measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(u16);

impl Score {
    const ONE: f32 = 10_000.0;

    /// Returns the nearest score. A share outside of 0 to 1 becomes the nearer end, and one that is
    /// no number 0.
    pub fn new(share: f32) -> Self {
        Self((share.clamp(0.0, 1.0) * Self::ONE).round() as u16)
    }

    /// Returns it as a share of 0 to 1, exact to four decimals.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ONE)
    }
}

/// A moderation decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The comment may be shown.
    Accept,
    /// The comment must not be shown. If it was, it is deleted.
    Reject,
    /// Only the sender sees the comment.
    ShadowBan,
    /// The comment needs review by a person.
    Flag,
}

impl Decision {
    pub const ALL: [Self; 4] = [Self::Accept, Self::Reject, Self::ShadowBan, Self::Flag];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::ShadowBan => "shadow_ban",
            Self::Flag => "flag",
        }
    }

    /// Returns the viewers that the comment must be hidden from, if it was already shown.
    pub fn hides_from(self) -> Option<HiddenFrom> {
        match self {
            Self::Accept | Self::Flag => None,
            Self::Reject => Some(HiddenFrom::Everybody),
            Self::ShadowBan => Some(HiddenFrom::Others),
        }
    }

    /// Returns whether a comment that was already shown must be deleted, at least for others than
    /// its author.
    pub fn deletes(self) -> bool {
        self.hides_from().is_some()
    }
}

/// The viewers that a comment is hidden from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HiddenFrom {
    /// All viewers. The author is told of the deletion too.
    Everybody,
    /// All viewers but the author, who goes on to see the comment and is told nothing.
    Others,
}

/// The viewers that are told of a deletion: those that saw the comment and must not see it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Told {
    #[default]
    Everybody,
    /// All but the author, who goes on to see the comment.
    AllBut(UserId),
    /// The author only: nobody else saw the comment.
    Only(UserId),
}

impl Told {
    fn is_everybody(&self) -> bool {
        *self == Self::Everybody
    }

    /// Returns whether a viewer is told; `None` stands for one that is no user.
    pub fn includes(self, user: Option<UserId>) -> bool {
        match self {
            Self::Everybody => true,
            Self::AllBut(author) => user != Some(author),
            Self::Only(author) => user == Some(author),
        }
    }

    /// Returns the user that is told something else than all others.
    pub fn exception(self) -> Option<UserId> {
        match self {
            Self::Everybody => None,
            Self::AllBut(author) | Self::Only(author) => Some(author),
        }
    }
}

/// A deletion as nodes pass it on. Viewers are sent the [`Deletion`] in it.
///
/// Encoded like a [`Deletion`] if everybody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub comment_id: CommentId,
    /// A stable code such as `blocked_word`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
    #[serde(default, skip_serializing_if = "Told::is_everybody")]
    pub told: Told,
}

impl Removal {
    /// Returns the viewers that the comment is hidden from.
    pub fn hidden_from(&self) -> HiddenFrom {
        match self.told {
            Told::Everybody | Told::Only(_) => HiddenFrom::Everybody,
            Told::AllBut(_) => HiddenFrom::Others,
        }
    }

    /// Returns the deletion that viewers are sent.
    pub fn deletion(&self) -> Deletion {
        Deletion {
            comment_id: self.comment_id,
            reason: self.reason.clone(),
            timestamp: self.timestamp,
        }
    }
}

impl From<Deletion> for Removal {
    /// Returns the removal that everybody is told of.
    fn from(deletion: Deletion) -> Self {
        let Deletion { comment_id, reason, timestamp } = deletion;
        Self { comment_id, reason, timestamp, told: Told::Everybody }
    }
}

impl CommentRestored {
    /// Returns the decision that follows a restoration in the log, if the comment stays hidden from
    /// others: the restoration takes back every earlier decision about it.
    pub fn hiding(&self) -> Option<CommentModerated> {
        self.stays_hidden.then(|| CommentModerated {
            stream_id: self.stream_id,
            comment_id: self.comment_id,
            user_id: self.user_id,
            decision: Decision::ShadowBan,
            reason: "moderator".into(),
            timestamp: self.timestamp,
            decided_by: self.restored_by.clone(),
            text: None,
            // Caches show the comment since the restoration, so they are told too.
            was_hidden: false,
            in_bulk: false,
        })
    }
}

impl CommentModerated {
    /// Returns the decision as it stands among the comments, where each reader has the text.
    pub fn without_text(&self) -> Self {
        Self { text: None, ..self.clone() }
    }

    /// Returns the deletion to send to viewers, if this decision deletes the comment for somebody
    /// that saw it, and those that are sent it.
    pub fn removal(&self) -> Option<Removal> {
        let told = match (self.decision.hides_from()?, self.was_hidden) {
            (HiddenFrom::Everybody, false) => Told::Everybody,
            (HiddenFrom::Everybody, true) => Told::Only(self.user_id),
            (HiddenFrom::Others, false) => Told::AllBut(self.user_id),
            (HiddenFrom::Others, true) => return None,
        };
        Some(Removal {
            comment_id: self.comment_id,
            reason: self.reason.clone(),
            timestamp: self.timestamp,
            told,
        })
    }

    /// Returns the deletion that viewers are sent, if this decision deletes the comment.
    pub fn deletion(&self) -> Option<Deletion> {
        self.removal().map(|removal| removal.deletion())
    }
}

/// A record that is not an event of this format.
#[derive(Debug, thiserror::Error)]
#[error("invalid event record: {0}")]
pub struct BadEvent(#[from] rmp_serde::decode::Error);

impl Event {
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self)
            .expect("an event has no type MessagePack cannot carry, and memory does not fail")
    }

    pub fn decode(payload: &[u8]) -> Result<Self, BadEvent> {
        Ok(tolerant::from_slice(payload)?)
    }

    pub fn stream_id(&self) -> StreamId {
        match self {
            Self::CommentSubmitted(event) => event.comment.stream_id,
            Self::CommentModerated(event) => event.stream_id,
            Self::CommentRestored(event) => event.stream_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moderated(decision: Decision, text: Option<ModeratedText>) -> CommentModerated {
        CommentModerated {
            stream_id: StreamId(1),
            comment_id: CommentId::from_unix_ticks(17_500_000_000_000_000, 1, [3; 6]),
            user_id: UserId(7),
            decision,
            reason: "high_toxicity".into(),
            timestamp: 2,
            decided_by: "models".into(),
            text,
            was_hidden: false,
            in_bulk: false,
        }
    }

    #[test]
    fn only_those_that_saw_a_comment_are_told() {
        let told = |decision, was_hidden| {
            let event = CommentModerated { was_hidden, ..moderated(decision, None) };
            event.removal().map(|removal| (removal.told, removal.hidden_from()))
        };
        let author = UserId(7);
        assert_eq!(told(Decision::Reject, false), Some((Told::Everybody, HiddenFrom::Everybody)));
        let by_shadow = Some((Told::AllBut(author), HiddenFrom::Others));
        assert_eq!(told(Decision::ShadowBan, false), by_shadow);
        let only_author = Some((Told::Only(author), HiddenFrom::Everybody));
        assert_eq!(told(Decision::Reject, true), only_author);
        assert_eq!(told(Decision::ShadowBan, true), None, "nothing changes");
        assert!(told(Decision::Accept, false).is_none() && told(Decision::Flag, true).is_none());
        let included =
            |told: Told| [None, Some(author), Some(UserId(8))].map(|it| told.includes(it));
        assert_eq!(included(Told::Everybody), [true; 3]);
        assert_eq!(included(Told::AllBut(author)), [true, false, true]);
        assert_eq!(included(Told::Only(author)), [false, true, false]);
    }

    #[test]
    fn a_removal_for_all_is_encoded_like_a_deletion() {
        let removal = moderated(Decision::Reject, None).removal().unwrap();
        let encoded = rmp_serde::to_vec(&removal).unwrap();
        assert_eq!(encoded, rmp_serde::to_vec(&removal.deletion()).unwrap());
        assert_eq!(rmp_serde::from_slice::<Removal>(&encoded).unwrap(), removal);
        for told in [Told::AllBut(UserId(7)), Told::Only(UserId(7))] {
            let spared = Removal { told, ..removal.clone() };
            let encoded = rmp_serde::to_vec(&spared).unwrap();
            assert_eq!(rmp_serde::from_slice::<Removal>(&encoded).unwrap(), spared);
        }
    }

    /// As versions without evidence wrote it.
    #[test]
    fn decisions_without_evidence_stay_readable() {
        let old_text = rmp_serde::to_vec(&("ann", "hi")).unwrap();
        let text = ModeratedText::new("ann", "hi");
        assert_eq!(rmp_serde::from_slice::<ModeratedText>(&old_text).unwrap(), text);
        assert_eq!(rmp_serde::to_vec(&text).unwrap(), old_text);
        let scores = BTreeMap::from([("toxicity".into(), Score::new(0.87))]);
        let evidence = Evidence {
            stage: "models".into(),
            score: Some(Score::new(0.87)),
            scores,
            model: Some("3".into()),
        };
        let text = ModeratedText { evidence: Some(evidence), ..text };
        for (text, was_hidden) in [(None, false), (None, true), (Some(text), true)] {
            let decided = moderated(Decision::Reject, text);
            let decided = CommentModerated { was_hidden, ..decided };
            for in_bulk in [false, true] {
                let event =
                    Event::CommentModerated(CommentModerated { in_bulk, ..decided.clone() });
                assert_eq!(Event::decode(&event.encode()).unwrap(), event);
            }
        }
        let comment_id = CommentId::from_unix_ticks(17_500_000_000_000_000, 1, [3; 6]);
        let old = (1, comment_id, 7, "reject", "high_toxicity", 2, "models");
        let old = rmp_serde::to_vec(&old).unwrap();
        let read: CommentModerated = rmp_serde::from_slice(&old).unwrap();
        assert_eq!(read, moderated(Decision::Reject, None));
    }

    /// As versions that knew only restorations for everybody wrote it.
    #[test]
    fn restorations_of_earlier_versions_are_read() {
        let comment_id = CommentId::from_unix_ticks(17_500_000_000_000_000, 1, [3; 6]);
        let old = rmp_serde::to_vec(&(1, comment_id, 7, "a mistake", 2, "ann")).unwrap();
        let read: CommentRestored = rmp_serde::from_slice(&old).unwrap();
        assert_eq!((read.stays_hidden, read.hiding()), (false, None));
        assert_eq!(rmp_serde::to_vec(&read).unwrap(), old);
        let hidden = CommentRestored { stays_hidden: true, ..read };
        let encoded = Event::CommentRestored(hidden.clone()).encode();
        assert_eq!(Event::decode(&encoded).unwrap(), Event::CommentRestored(hidden.clone()));
        let told = hidden.hiding().and_then(|hiding| hiding.removal()).map(|it| it.told);
        assert_eq!(told, Some(Told::AllBut(UserId(7))));
    }

    #[test]
    fn scores_are_shares_of_four_decimals() {
        let shares = [0.0, 0.87, 1.0, 1.5, -1.0, f32::NAN].map(|share| Score::new(share).share());
        assert_eq!(shares, [0.0, 0.87, 1.0, 1.0, 0.0, 0.0]);
    }
}
