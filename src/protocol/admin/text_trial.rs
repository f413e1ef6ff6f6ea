//! Trials of texts: what moderation would decide about one.

use serde::{Deserialize, Serialize};

use super::UserRef;
use crate::protocol::events::Decision;
use crate::protocol::{NodeId, StreamId, UserId};

/// Asks what moderation would decide about a text. Nothing is sent, stored or counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTrialRequest {
    /// The text as a viewer would send it.
    pub text: String,
    /// The stream whose recent comments count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamId>,
    /// The user whose recent comments and role count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserRef>,
}

/// `POST /v1/mod/test`: what moderation would decide about a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TextTrial {
    /// The node that answers. Repeats and floods are those that it has counted.
    pub node: NodeId,
    pub decision: Decision,
    /// The reason of the stage that decides; absent if the text is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Absent if no user was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// All stages in order, those after the one that decides included.
    pub stages: Vec<TriedStage>,
    /// The shift of the thresholds for the user and the stream that were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<ThresholdShift>,
}

/// By how much thresholds of moderation are lower for a user at a moment, and why. Scores are 0 to
/// 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ThresholdShift {
    /// The sum of the others. Negative if they are higher, which counts only for flags.
    pub lowered: f64,
    /// The points of the user.
    pub points: f64,
    /// The part of these points.
    pub by_points: f64,
    /// The part of an account that is new.
    pub by_account_age: f64,
    /// By how much a shouting crowd raises the thresholds, as far as the node has seen the stream.
    pub raised_by_crowd: f64,
}

/// The answer of one moderation stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TriedStage {
    pub stage: String,
    pub decision: Decision,
    /// Empty if the stage accepts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The confidence of the stage, 0 to 1, if it measures one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// True for the stage whose decision counts: the strictest, of equal ones the first. Stages
    /// after a rejection or a shadow ban do not count.
    pub decides: bool,
    /// The rules that the text breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<BrokenRule>,
    /// All that the stage measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<TriedScore>,
    /// By how much the thresholds are lower for this user at this moment; negative: higher. What a
    /// crowd raises counts only for flags. Absent if they are as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered: Option<f32>,
    /// The version of the model that measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A score of a text, beside the thresholds that hold for this user at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TriedScore {
    /// The property that is measured: `toxicity`.
    pub name: String,
    /// 0 to 1.
    pub score: f32,
    /// The score from which a comment is flagged.
    pub flag_from: f32,
    /// The score from which the action of the setting applies.
    pub action_from: f32,
    /// The action of the setting; with `accept` nothing is flagged either.
    pub action: Decision,
    /// The setting with the action.
    pub setting: String,
}

/// A rule that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BrokenRule {
    /// The reason that a decision by this rule has: `blocked_word`.
    pub rule: String,
    /// The action of the setting; `accept` if the rule is not in use.
    pub decision: Decision,
    /// The setting with the action.
    pub setting: String,
    /// The term as it is listed, the host of a link, or a number in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
}
