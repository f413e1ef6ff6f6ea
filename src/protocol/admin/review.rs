//! The review queue as several moderators share it: claims, what was decided, and who is removed
//! most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ReviewItem;
use crate::protocol::events::{Decision, Evidence, Score};
use crate::protocol::{CommentId, StreamId, UserId};

/// The reason of a held comment that was rejected because nobody decided about it in time.
pub const EXPIRED: &str = "expired";
/// The reason of a comment that no stage had checked, once the decision about it was taken back: it
/// waits for a person.
pub const REOPENED: &str = "reopened";
/// The reason of a held comment whose author was banned or timed out meanwhile: it waits for a
/// person.
pub const AUTHOR_BANNED: &str = "author_banned";
/// The reason of a held comment whose stream is not live any more: it waits for a person.
pub const STREAM_NOT_LIVE: &str = "stream_not_live";

/// The evidence by which a moderation stage flagged a comment, as moderators read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReviewEvidence {
    /// The moderation stage that flagged the comment; absent for comments of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The confidence of that stage, 0 to 1, if it measures one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// All that the stages measured, by name, such as `toxicity`, each 0 to 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// The version of the model that measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl From<&Evidence> for ReviewEvidence {
    fn from(evidence: &Evidence) -> Self {
        let scores = evidence.scores.iter();
        Self {
            stage: Some(evidence.stage.as_ref().to_owned()),
            score: evidence.score.map(Score::share),
            scores: scores.map(|(name, score)| (name.as_ref().to_owned(), score.share())).collect(),
            model: evidence.model.as_deref().map(str::to_owned),
        }
    }
}

impl ReviewEvidence {
    /// Writes all scores, the highest first: `toxicity 0.61, spam 0.02`. Empty if there is none.
    pub fn scores_text(&self) -> String {
        let mut sorted: Vec<_> = self.scores.iter().collect();
        sorted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let shown: Vec<_> =
            sorted.into_iter().map(|(name, score)| format!("{name} {score:.2}")).collect();
        shown.join(", ")
    }
}

impl ReviewItem {
    /// Returns the actor that has claimed the item, if the claim has not run out at `now_ms`
    /// (milliseconds since the Unix epoch).
    pub fn holder(&self, now_ms: u64) -> Option<&str> {
        let by = self.claimed_by.as_deref()?;
        self.claim_expires_at.is_some_and(|end| end > now_ms).then_some(by)
    }

    /// Returns the actor that has claimed the item, unless that is the actor who asked.
    pub fn other_holder(&self, now_ms: u64) -> Option<&str> {
        self.holder(now_ms).filter(|_| !self.claimed_by_you)
    }
}

/// `GET /v1/mod/decisions?limit=&before=&restored=`: what became of a comment, newest first. A
/// comment that was flagged is here once a person has decided. With `restored=true`, to train on,
/// comments whose deletion was taken back are here as accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModerationDecision {
    pub comment_id: CommentId,
    pub stream_id: StreamId,
    pub user_id: UserId,
    /// The name of the sender, as of the comment; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text of the comment; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub decision: Decision,
    /// Why the comment was removed or, for a comment of the review queue, flagged.
    pub reason: String,
    /// The moderation stage or the person; `moderation` for a decision about a held comment that no
    /// person made.
    pub decided_by: String,
    /// True if a person decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_person: bool,
    /// True if it was deleted together with all others of a room or of a user, so that the deletion
    /// says nothing about its text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_bulk: bool,
    /// Milliseconds since the Unix epoch.
    pub decided_at: u64,
    /// The moderation stage that decided, or that flagged the comment for a person; absent if a
    /// person decided about a comment that no stage flagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The confidence of that stage, 0 to 1, if it measures one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// All that the stages measured, by name, such as `toxicity`, each 0 to 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// The version of the model that measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// `GET /v1/mod/offenders?limit=`: a user with the comments that were removed in the last hour,
/// most first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Offender {
    pub user_id: UserId,
    /// The name as of the last of these comments; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Comments that were removed or that only the sender sees.
    pub removed: u64,
    /// Why the last of them was removed.
    pub reason: String,
    /// When the last of them was removed, in milliseconds since the Unix epoch.
    pub last_at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_written_highest_first() {
        let scores = [("spam", 0.021), ("toxicity", 0.608)];
        let scores = scores.map(|(name, score)| (name.to_owned(), score)).into();
        let evidence = ReviewEvidence { scores, ..ReviewEvidence::default() };
        assert_eq!(evidence.scores_text(), "toxicity 0.61, spam 0.02");
        assert_eq!(ReviewEvidence::default().scores_text(), "");
    }

    #[test]
    fn items_of_earlier_versions_are_read() {
        let old = r#"{"comment_id":"78353400-e590-11f1-8007-010101010101","stream_id":7,
            "user_id":42,"name":"ann","message":"hi","reason":"link","flagged_at":1,"held":true}"#;
        let item: ReviewItem = serde_json::from_str(old).unwrap();
        assert_eq!((item.shadowed, &item.evidence), (false, &ReviewEvidence::default()));
        let stage = Some("models".to_owned());
        let item = ReviewItem { evidence: ReviewEvidence { stage, ..item.evidence }, ..item };
        let text = serde_json::to_string(&item).unwrap();
        assert!(text.contains(r#""stage":"models""#), "{text}");
        assert_eq!(serde_json::from_str::<ReviewItem>(&text).unwrap(), item);
    }
}
