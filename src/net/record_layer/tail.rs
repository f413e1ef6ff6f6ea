//! Watches the records that a session is given, to know the part that it has of the last one.

use super::HEADER_BYTES;

/// The bytes of the last record, while it is incomplete.
#[derive(Debug, Default)]
pub struct RecordTail {
    bytes: Vec<u8>,
}

impl RecordTail {
    /// Notes bytes that the session is given, in order.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let missing = self.missing(bytes);
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            bytes = rest;
            if self.bytes.is_empty() && taken.len() == missing {
                // A whole record: nothing of it is kept.
                continue;
            }
            self.bytes.extend_from_slice(taken);
            if taken.len() == missing {
                self.bytes = Vec::new();
            }
        }
    }

    /// Returns the number of bytes up to the end of the record, or of its header if that is not
    /// known yet.
    fn missing(&self, next: &[u8]) -> usize {
        let kept = self.bytes.len();
        let byte = |at: usize| self.bytes.get(at).or_else(|| next.get(at - kept)).copied();
        match (byte(HEADER_BYTES - 2), byte(HEADER_BYTES - 1)) {
            (Some(high), Some(low)) => {
                HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])) - kept
            }
            _ => next.len() + 1,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_incomplete_record_is_kept(
            sizes in prop::collection::vec(0_usize..600, 0..6),
            extra in 0_usize..400,
            cuts in prop::collection::vec(1_usize..300, 1..40),
        ) {
            let record = |size: usize| {
                let mut record = vec![23, 3, 3];
                record.extend((size as u16).to_be_bytes());
                record.resize(HEADER_BYTES + size, 7);
                record
            };
            let mut bytes: Vec<u8> = sizes.iter().flat_map(|size| record(*size)).collect();
            let begun = record(500)[..extra].to_vec();
            bytes.extend_from_slice(&begun);
            let mut tail = RecordTail::default();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                tail.pass(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(tail.into_bytes(), begun);
        }
    }
}
