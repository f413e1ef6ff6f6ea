//! The records of the dead-letter topic: MessagePack arrays, like everything else in the log. A new
//! field is always the last one and has a default.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ConsumerGroup, MAX_PAYLOAD_BYTES, NewRecord, Record, Topic};
use crate::protocol::tolerant;

/// Space for the fields besides the payload, so that the dead letter of the largest record fits a
/// record.
const OVERHEAD_BYTES: usize = 4096;
const MAX_REASON_CHARS: usize = 500;

/// A record that a consumer skipped, with its position and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    /// The consumer group.
    pub group: String,
    /// At most 500 characters.
    pub reason: String,
    /// The record's payload, truncated to 4 KiB less than [`MAX_PAYLOAD_BYTES`]. The log keeps all
    /// of it for its retention.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// A payload is not a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("not a dead letter: {0}")]
pub struct DeadLetterError(#[from] rmp_serde::decode::Error);

impl DeadLetter {
    pub fn new(
        topic: Topic,
        group: ConsumerGroup,
        record: &Record,
        reason: &dyn std::fmt::Display,
    ) -> Self {
        let kept = record.payload.len().min(MAX_PAYLOAD_BYTES - OVERHEAD_BYTES);
        Self {
            topic: topic.name().to_owned(),
            partition: record.position.partition,
            offset: record.position.offset,
            group: group.as_str().to_owned(),
            reason: reason.to_string().chars().take(MAX_REASON_CHARS).collect(),
            payload: record.payload[..kept].to_vec(),
        }
    }

    /// Returns whether the payload may lack its end.
    pub fn is_cut(&self) -> bool {
        self.payload.len() >= MAX_PAYLOAD_BYTES - OVERHEAD_BYTES
    }

    /// Encodes a record of [`Topic::DeadLetters`] with the key of the skipped record.
    pub fn record(&self, key: u64, timestamp_ms: u64) -> NewRecord {
        let payload =
            rmp_serde::to_vec(self).expect("MessagePack encodes every type of a dead letter");
        NewRecord { key, timestamp_ms, payload: Bytes::from(payload) }
    }

    pub fn decode(payload: &[u8]) -> Result<Self, DeadLetterError> {
        Ok(tolerant::from_slice(payload)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::eventlog::Position;

    #[test]
    fn dead_letter_of_the_largest_record_fits() {
        let record = Record {
            position: Position { partition: 3, offset: 77 },
            key: 5,
            timestamp_ms: 1,
            payload: vec![0xC1; MAX_PAYLOAD_BYTES].into(),
        };
        let letter = DeadLetter::new(
            Topic::CommentEvents,
            ConsumerGroup::Archiver,
            &record,
            &"é".repeat(5000),
        );
        let written = letter.record(record.key, 9);
        assert!(written.payload.len() <= MAX_PAYLOAD_BYTES, "{}", written.payload.len());
        let read = DeadLetter::decode(&written.payload).unwrap();
        assert_eq!(read, letter);
        assert!(read.is_cut() && !DeadLetter { payload: vec![1], ..letter }.is_cut());
        assert_eq!((read.topic.as_str(), read.offset, written.key), ("comment_events", 77, 5));
        assert!(DeadLetter::decode(b"\xC1").is_err());
    }
}
