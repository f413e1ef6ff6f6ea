//! The encoding of a record in a segment file.
//!
//! ```text
//! 0   u32  bytes of the payload
//! 4   u32  crc32c of everything else: the length, then byte 8 up to the end of the payload
//! 8   u64  offset
//! 16  u64  key
//! 24  u64  timestamp, ms since 1970
//! 32  u32  place in its commit: 0 for the first record written before one fsync
//! 36       payload
//! ```
//!
//! Little-endian. With the place in its commit, recovery tells a torn last write from damage: a
//! commit begins only once the one before is durable, so a valid record proves that everything
//! before its own commit had reached the disk.

use crate::daemon::engines::eventlog::{MAX_PAYLOAD_BYTES, NewRecord, Position, Record};
use bytes::Bytes;

pub(super) const HEADER_BYTES: usize = 36;

/// A record that borrows the bytes it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordRef<'a> {
    pub offset: u64,
    pub key: u64,
    pub timestamp_ms: u64,
    pub place_in_commit: u32,
    pub payload: &'a [u8],
}

/// The reason why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The record is incomplete; it takes this many bytes.
    Short {
        needed: usize,
    },
    /// The payload is larger than any record may have.
    TooLong {
        payload_bytes: usize,
    },
    Checksum,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { needed } => write!(f, "a record of {needed} bytes ends too early"),
            Self::TooLong { payload_bytes } => {
                write!(f, "a record claims {payload_bytes} bytes of payload")
            }
            Self::Checksum => f.write_str("a record does not match its checksum"),
        }
    }
}

impl RecordRef<'_> {
    pub(super) fn total_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// Returns the offset of the first record of the same commit.
    pub(super) fn commit_start(&self) -> u64 {
        self.offset.saturating_sub(u64::from(self.place_in_commit))
    }

    /// Copies the record, because a slice would keep the whole chunk in memory.
    pub(super) fn to_record(self) -> Record {
        Record {
            position: Position { partition: super::PARTITION, offset: self.offset },
            key: self.key,
            timestamp_ms: self.timestamp_ms,
            payload: Bytes::copy_from_slice(self.payload),
        }
    }
}

/// Returns the size of a record in a segment.
pub(super) fn encoded_bytes(record: &NewRecord) -> u64 {
    (HEADER_BYTES + record.payload.len()) as u64
}

/// Appends an encoded record to `into`. Its payload must not exceed [`MAX_PAYLOAD_BYTES`].
pub(super) fn encode(into: &mut Vec<u8>, offset: u64, place_in_commit: u32, record: &NewRecord) {
    let start = into.len();
    let length = (record.payload.len() as u32).to_le_bytes();
    into.extend_from_slice(&length);
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&offset.to_le_bytes());
    into.extend_from_slice(&record.key.to_le_bytes());
    into.extend_from_slice(&record.timestamp_ms.to_le_bytes());
    into.extend_from_slice(&place_in_commit.to_le_bytes());
    into.extend_from_slice(&record.payload);
    let checksum = checksum(&into[start..]);
    into[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Decodes the record at the beginning of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Result<RecordRef<'_>, Flaw> {
    if bytes.len() < HEADER_BYTES {
        return Err(Flaw::Short { needed: HEADER_BYTES });
    }
    let payload_bytes = u32_at(bytes, 0) as usize;
    if payload_bytes > MAX_PAYLOAD_BYTES {
        return Err(Flaw::TooLong { payload_bytes });
    }
    let total = HEADER_BYTES + payload_bytes;
    if bytes.len() < total {
        return Err(Flaw::Short { needed: total });
    }
    let bytes = &bytes[..total];
    if checksum(bytes) != u32_at(bytes, 4) {
        return Err(Flaw::Checksum);
    }
    Ok(view(bytes))
}

/// Returns whether `bytes` begin with as many bytes as [`decode`] needs.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && {
        let payload_bytes = u32_at(bytes, 0) as usize;
        payload_bytes > MAX_PAYLOAD_BYTES || bytes.len() >= HEADER_BYTES + payload_bytes
    }
}

/// Returns the record in `bytes`, which [`decode`] has checked before.
pub(super) fn view(bytes: &[u8]) -> RecordRef<'_> {
    RecordRef {
        offset: u64_at(bytes, 8),
        key: u64_at(bytes, 16),
        timestamp_ms: u64_at(bytes, 24),
        place_in_commit: u32_at(bytes, 32),
        payload: &bytes[HEADER_BYTES..],
    }
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn encoded(offset: u64, place: u32, record: &NewRecord) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, offset, place, record);
        bytes
    }

    proptest! {
        #[test]
        fn record_reads_back_whatever_follows_it(
            offset: u64, key: u64, timestamp_ms: u64, place: u32,
            payload in vec(any::<u8>(), 0..600), rest in vec(any::<u8>(), 0..50),
        ) {
            let record = NewRecord { key, timestamp_ms, payload: payload.clone().into() };
            let mut bytes = encoded(offset, place, &record);
            prop_assert_eq!(bytes.len() as u64, encoded_bytes(&record));
            bytes.extend_from_slice(&rest);
            let read = decode(&bytes).unwrap();
            let wanted = RecordRef {
                offset, key, timestamp_ms, place_in_commit: place, payload: &payload,
            };
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn any_bytes_decode_or_are_an_error(bytes in vec(any::<u8>(), 0..200)) {
            let short = matches!(decode(&bytes), Err(Flaw::Short { .. }));
            prop_assert_eq!(is_whole(&bytes), !short);
            match decode(&bytes) {
                Ok(record) => prop_assert!(record.total_bytes() <= bytes.len()),
                Err(Flaw::Short { needed }) => prop_assert!(needed > bytes.len()),
                Err(Flaw::TooLong { payload_bytes }) => {
                    prop_assert!(payload_bytes > MAX_PAYLOAD_BYTES);
                }
                Err(Flaw::Checksum) => {}
            }
        }

        #[test]
        fn flipped_bit_is_detected(
            payload in vec(any::<u8>(), 0..300), bit in any::<prop::sample::Index>(),
        ) {
            let record = NewRecord { key: 7, timestamp_ms: 1, payload: payload.into() };
            let mut bytes = encoded(3, 0, &record);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn record_cut_anywhere_is_short(
            payload in vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>(),
        ) {
            let record = NewRecord { key: 7, timestamp_ms: 1, payload: payload.into() };
            let bytes = encoded(3, 0, &record);
            let cut = &bytes[..cut.index(bytes.len())];
            let asked = matches!(decode(cut), Err(Flaw::Short { needed }) if needed > cut.len());
            prop_assert!(asked);
        }
    }

    #[test]
    fn zeros_are_not_a_record() {
        assert_eq!(decode(&[0; 4096]), Err(Flaw::Checksum));
    }
}
