//! Ids. Stream and user ids are numbers chosen by the operator, stored as `BIGINT`. Comment ids are
//! UUIDs of version 1, so they contain their creation time and can be sorted by it.
//!
//! JSON carries stream and user ids as strings, because readers such as JavaScript round numbers
//! above [`MAX_SAFE_INTEGER`]; a JSON number is accepted too. MessagePack carries integers. Every
//! other number of the protocol stays at or below that bound.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// 100-nanosecond ticks between the Gregorian epoch of UUID v1 (1582-10-15) and the Unix epoch
/// (RFC 9562 §5.1).
const GREGORIAN_TO_UNIX_TICKS: u64 = 0x01B2_1DD2_1381_4000;

/// The largest integer that every JSON reader represents exactly: 2^53 − 1.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_any(NumericIdVisitor { what: $what }).map(Self)
                } else {
                    u64::deserialize(deserializer).map(Self)
                }
            }
        }

        impl $name {
            /// Returns whether every store can hold the id. Parsing it from text checks this,
            /// decoding it does not.
            pub fn is_valid(self) -> bool {
                (1..=i64::MAX as u64).contains(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_numeric_id(text).map(Self).ok_or_else(|| InvalidId::new($what, text))
            }
        }
    };
}

/// Returns the number if it can be an id: digits without a sign, from 1 to 2^63 − 1.
fn parse_numeric_id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse::<u64>().ok().filter(|_| digits)?;
    (1..=i64::MAX as u64).contains(&id).then_some(id)
}

/// Reads an id from a string or a number. Whether it can be an id is checked where it is used, as
/// for ids in MessagePack.
struct NumericIdVisitor {
    what: &'static str,
}

impl serde::de::Visitor<'_> for NumericIdVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}: {}, as a string or a number", self.what, expected(self.what))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }
}

numeric_id!(
    /// The id of a stream, from 1 to 2^63 − 1.
    StreamId,
    "stream id"
);
numeric_id!(
    /// The id of a user in the operator's own accounts, from 1 to 2^63 − 1.
    UserId,
    "user id"
);

/// Writes ` on stream 7`, or nothing for all streams.
pub fn on_stream(stream_id: Option<StreamId>) -> String {
    stream_id.map(|stream_id| format!(" on stream {stream_id}")).unwrap_or_default()
}

/// The error of parsing an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: expected {}", expected(.what))]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

impl InvalidId {
    fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(40).collect() }
    }
}

fn expected(what: &str) -> &'static str {
    match what {
        "comment id" => "a UUID such as 2f5e1c80-c6e5-11f0-8000-0242ac120002",
        _ => "a whole number from 1 to 9223372036854775807",
    }
}

/// The id of a comment: a UUID v1, unique over all nodes, ordered by creation time on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommentId(pub Uuid);

impl CommentId {
    /// Builds an id from `ticks` (100 ns since the Unix epoch), `node`, and the 14 low bits of
    /// `clock_sequence`.
    pub fn from_unix_ticks(ticks: u64, clock_sequence: u16, node: [u8; 6]) -> Self {
        let gregorian = ticks + GREGORIAN_TO_UNIX_TICKS;
        let id = uuid::Builder::from_gregorian_timestamp(gregorian, clock_sequence, &node);
        Self(id.into_uuid())
    }

    /// Returns the creation time in 100 ns ticks since the Unix epoch, or 0 if it is before that.
    pub fn unix_ticks(self) -> u64 {
        let (low, mid, high, _) = self.0.as_fields();
        let gregorian = u64::from(low) | u64::from(mid) << 32 | u64::from(high & 0x0FFF) << 48;
        gregorian.saturating_sub(GREGORIAN_TO_UNIX_TICKS)
    }

    /// Returns the creation time in milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        self.unix_ticks() / 10_000
    }

    /// Returns the last 8 bytes: clock sequence and node. Ids of one node share them.
    pub fn origin(self) -> [u8; 8] {
        *self.0.as_fields().3
    }

    /// Returns the id with the time first (the field order of UUID v6), so that byte order is time
    /// order. Stores without a time-ordered UUID type sort by this key.
    pub fn sort_key(self) -> [u8; 16] {
        let (low, mid, high, tail) = self.0.as_fields();
        let time = u64::from(high & 0x0FFF) << 48 | u64::from(mid) << 32 | u64::from(low);
        let mut key = [0_u8; 16];
        key[..8].copy_from_slice(&time.to_be_bytes());
        key[8..].copy_from_slice(tail);
        key
    }

    /// The inverse of [`Self::sort_key`].
    pub fn from_sort_key(key: [u8; 16]) -> Self {
        let mut time = [0_u8; 8];
        time.copy_from_slice(&key[..8]);
        let time = u64::from_be_bytes(time);
        let mut tail = [0_u8; 8];
        tail.copy_from_slice(&key[8..]);
        let high = (time >> 48) as u16 & 0x0FFF | 0x1000;
        Self(Uuid::from_fields(time as u32, (time >> 32) as u16, high, &tail))
    }
}

impl fmt::Display for CommentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CommentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId::new("comment id", text))
    }
}

/// A position in a stream: the offset of the record in the stream's partition of the event log.
///
/// It increases along a stream, but not by one, because the partition also carries deletions and
/// other streams. It needs no counter, because it survives restarts and failovers with the log.
/// Offsets stay far below [`MAX_SAFE_INTEGER`]: a million records per second reach it in 285 years.
pub type Seq = u64;

/// The identity of the event log that a [`Seq`] belongs to. A log that was lost or replaced gets a
/// new epoch, and positions with an earlier epoch are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a viewer in a stream: everything up to and including `seq` was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    pub epoch: Epoch,
    pub seq: Seq,
}

/// The name of a running `lcd` process; by default the host name and a suffix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub std::sync::Arc<str>);

impl NodeId {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comment_id_keeps_its_time_and_origin(ticks in 0_u64..1 << 56, seq: u16, node: [u8; 6]) {
            let id = CommentId::from_unix_ticks(ticks, seq, node);
            prop_assert_eq!(id.0.get_version_num(), 1);
            prop_assert_eq!(id.unix_ticks(), ticks);
            prop_assert_eq!(&id.origin()[2..], &node[..]);
            prop_assert_eq!(CommentId::from_sort_key(id.sort_key()), id);
        }

        #[test]
        fn sort_keys_order_by_time(a in 0_u64..1 << 56, b in 0_u64..1 << 56, seq: u16, node: [u8; 6]) {
            let key = |ticks| CommentId::from_unix_ticks(ticks, seq, node).sort_key();
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }
    }

    /// Ids in stores and logs were built from these values.
    #[test]
    fn comment_id_of_given_parts_never_changes() {
        for (ticks, clock_sequence, node, expected) in [
            (0, 0, [0; 6], "13814000-1dd2-11b2-8000-000000000000"),
            (0x0123_4567_89AB_CDEF, u16::MAX, [0xFF; 6], "9d2d0def-6339-12d5-bfff-ffffffffffff"),
            (
                17_500_000_000_000_000,
                0x1234,
                [2, 3, 5, 7, 11, 13],
                "57130000-49fa-11f0-9234-020305070b0d",
            ),
        ] {
            let id = CommentId::from_unix_ticks(ticks, clock_sequence, node);
            assert_eq!(id.to_string(), expected);
        }
    }

    /// Ids from tools that number across nodes differ in their last digits only, which a reader
    /// with 53 bits rounds away.
    #[test]
    fn json_keeps_ids_that_differ_beyond_53_bits() {
        let ids = [UserId(175_928_847_299_117_063), UserId(175_928_847_299_117_064)];
        assert_eq!(ids[0].0 as f64, ids[1].0 as f64, "as numbers they are the same");
        let json = serde_json::to_string(&ids).unwrap();
        assert_eq!(json, r#"["175928847299117063","175928847299117064"]"#);
        assert_eq!(serde_json::from_str::<[UserId; 2]>(&json).unwrap(), ids);
        let numbers = "[175928847299117063,175928847299117064]";
        assert_eq!(serde_json::from_str::<[UserId; 2]>(numbers).unwrap(), ids);
        assert_eq!(serde_json::to_string(&StreamId(1)).unwrap(), r#""1""#, "small ids too");
        let packed = rmp_serde::to_vec(&ids).unwrap();
        assert_eq!(rmp_serde::from_slice::<[u64; 2]>(&packed).unwrap(), ids.map(|id| id.0));
        assert_eq!(rmp_serde::from_slice::<[UserId; 2]>(&packed).unwrap(), ids);
    }

    #[test]
    fn json_that_is_no_id_is_refused() {
        for json in [
            "-1", "1.5", "1e3", "null", "[1]", r#""""#, r#"" 1""#, r#""+1""#, r#""-1""#, r#""1e3""#,
        ] {
            let error = serde_json::from_str::<UserId>(json).unwrap_err();
            assert!(error.is_data(), "{json}");
            assert!(error.to_string().contains("user id"), "{error}");
        }
        for json in ["18446744073709551616", r#""18446744073709551616""#] {
            assert!(serde_json::from_str::<StreamId>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn ids_outside_bigint_are_rejected() {
        for text in ["0", "-1", "+1", "x", "", "9223372036854775808", "1.5"] {
            let error = text.parse::<StreamId>().unwrap_err().to_string();
            assert!(error.contains("whole number from 1"), "{error}");
        }
        assert_eq!("9223372036854775807".parse(), Ok(UserId(i64::MAX as u64)));
    }
}
