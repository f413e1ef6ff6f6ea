//! Comments and deletions.

use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{Badges, CommentId, Seq, StreamId, UserId};

/// A comment as the daemon accepted it and the event log stores it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Comment {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    /// The text: NFC, without control characters, never empty.
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch, on the clock of the node that accepted it.
    pub created_at: u64,
    /// Those of the author when it was accepted.
    #[serde(default)]
    pub badges: Badges,
    /// The comment that this one answers, as its author gave it: nobody has looked for it.
    #[serde(default)]
    pub parent_id: Option<CommentId>,
}

impl Comment {
    pub fn sequenced(&self, seq: Seq) -> SequencedComment {
        SequencedComment {
            comment_id: self.comment_id,
            user_id: self.user_id,
            name: self.name.clone(),
            message: self.message.clone(),
            created_at: self.created_at,
            seq,
            badges: self.badges,
            parent_id: self.parent_id,
        }
    }
}

impl Serialize for Comment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = LastFields::of(&serializer, self.badges, self.parent_id);
        let mut fields = serializer.serialize_struct("Comment", 6 + last.count())?;
        fields.serialize_field("stream_id", &self.stream_id)?;
        fields.serialize_field("comment_id", &self.comment_id)?;
        fields.serialize_field("user_id", &self.user_id)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("created_at", &self.created_at)?;
        last.write(&mut fields)?;
        fields.end()
    }
}

/// The fields at the end of a comment, which are left out if there is nothing in them. An array can
/// leave out only its last elements, so it has the badges of every reply.
struct LastFields {
    badges: Option<Badges>,
    parent_id: Option<CommentId>,
}

impl LastFields {
    fn of<S: Serializer>(serializer: &S, badges: Badges, parent_id: Option<CommentId>) -> Self {
        let is_array = !serializer.is_human_readable();
        let has_badges = !badges.is_empty() || (is_array && parent_id.is_some());
        Self { badges: has_badges.then_some(badges), parent_id }
    }

    fn count(&self) -> usize {
        usize::from(self.badges.is_some()) + usize::from(self.parent_id.is_some())
    }

    fn write<F: serde::ser::SerializeStruct>(self, fields: &mut F) -> Result<(), F::Error> {
        if let Some(badges) = self.badges {
            fields.serialize_field("badges", &badges)?;
        }
        if let Some(parent_id) = self.parent_id {
            fields.serialize_field("parent_id", &parent_id)?;
        }
        Ok(())
    }
}

/// A comment with its position in the stream, as viewers and the history see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SequencedComment {
    pub comment_id: CommentId,
    pub user_id: UserId,
    pub name: Arc<str>,
    pub message: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    pub seq: Seq,
    /// The badges of its author when the comment was accepted: a role above viewer, a subscriber.
    #[serde(default, skip_serializing_if = "Badges::is_empty")]
    pub badges: Badges,
    /// The comment that this one answers. It may be deleted, or of another stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<CommentId>,
}

impl Serialize for SequencedComment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = LastFields::of(&serializer, self.badges, self.parent_id);
        let mut fields = serializer.serialize_struct("SequencedComment", 6 + last.count())?;
        fields.serialize_field("comment_id", &self.comment_id)?;
        fields.serialize_field("user_id", &self.user_id)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("created_at", &self.created_at)?;
        fields.serialize_field("seq", &self.seq)?;
        last.write(&mut fields)?;
        fields.end()
    }
}

/// The deletion of a comment. Deletions overtake comments, so one may arrive before its comment.
/// A client must remember the id and ignore the comment when it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Deletion {
    pub comment_id: CommentId,
    /// A stable code such as `high_toxicity`, `blocked_word` or `moderator`.
    pub reason: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Badge, tolerant};

    fn comment(badges: Badges, parent_id: Option<CommentId>) -> SequencedComment {
        SequencedComment {
            comment_id: CommentId::from_unix_ticks(9_000, 1, [3; 6]),
            user_id: UserId(7),
            name: "ann".into(),
            message: "hi".into(),
            created_at: 1,
            seq: 2,
            badges,
            parent_id,
        }
    }

    /// As a version that adds a field at the end will write it.
    #[test]
    fn fields_of_later_versions_are_skipped() {
        let sequenced = comment(Badges::from_iter([Badge::Moderator]), None);
        let SequencedComment {
            comment_id, user_id, name, message, created_at, seq, badges, ..
        } = sequenced.clone();
        let parent: Option<CommentId> = None;
        let later = (
            comment_id,
            user_id,
            &*name,
            &*message,
            created_at,
            seq,
            badges,
            parent,
            "more",
            [1, 2],
        );
        let packed = rmp_serde::to_vec(&[later, later]).unwrap();
        let read: Vec<SequencedComment> = tolerant::from_slice(&packed).unwrap();
        assert_eq!(read, [sequenced.clone(), sequenced]);
    }

    #[test]
    fn absent_badges_and_parents_take_no_place() {
        let badges = Badges::from_iter([Badge::Moderator]);
        let parent = Some(CommentId::from_unix_ticks(8_000, 1, [3; 6]));
        for (badges, parent_id, elements) in [
            (Badges::default(), None, 6),
            (badges, None, 7),
            (Badges::default(), parent, 8),
            (badges, parent, 8),
        ] {
            let sequenced = comment(badges, parent_id);
            let packed = rmp_serde::to_vec(&sequenced).unwrap();
            assert_eq!(packed[0], 0x90 + elements);
            let read: SequencedComment = rmp_serde::from_slice(&packed).unwrap();
            assert_eq!(read, sequenced);
            let json = serde_json::to_string(&sequenced).unwrap();
            assert_eq!(json.contains("badges"), !badges.is_empty(), "{json}");
            assert_eq!(json.contains("parent_id"), parent_id.is_some(), "{json}");
            assert_eq!(serde_json::from_str::<SequencedComment>(&json).unwrap(), sequenced);
            let stored = Comment {
                stream_id: StreamId(1),
                comment_id: sequenced.comment_id,
                user_id: sequenced.user_id,
                name: sequenced.name.clone(),
                message: sequenced.message.clone(),
                created_at: sequenced.created_at,
                badges,
                parent_id,
            };
            let packed = rmp_serde::to_vec(&stored).unwrap();
            assert_eq!(packed[0], 0x90 + elements);
            let read: Comment = rmp_serde::from_slice(&packed).unwrap();
            assert_eq!(read.sequenced(2), sequenced);
        }
    }
}
