//! Positions as clients name them in the parameters of requests.

use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::{Epoch, StreamPosition};

/// Returns a position that a client has named. No log reaches as far as the limit, and `welcome`
/// repeats the position.
pub(super) fn position(epoch: u32, seq: u64) -> StreamPosition {
    StreamPosition { epoch: Epoch(epoch), seq: seq.min(MAX_SAFE_INTEGER) }
}

/// Parses the id of a server-sent event: `EPOCH:SEQ`.
pub(super) fn parse_event_id(id: &str) -> Option<StreamPosition> {
    let (epoch, seq) = id.split_once(':')?;
    Some(position(parse_number(epoch)?, parse_number(seq)?))
}

/// Parses a number of digits only: no sign, no spaces.
pub(super) fn parse_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_an_epoch_and_a_sequence() {
        assert_eq!(parse_event_id("3:841"), Some(position(3, 841)));
        let huge = parse_event_id("4294967295:18446744073709551615").unwrap();
        assert_eq!((huge.epoch, huge.seq), (Epoch(u32::MAX), MAX_SAFE_INTEGER));
        for malformed in [
            "",
            ":",
            "3",
            "3:",
            ":841",
            "3:841:1",
            "-3:841",
            "3:+841",
            "3: 841",
            "x:1",
            "3:1e3",
            "4294967296:1",
            "3:18446744073709551616",
        ] {
            assert_eq!(parse_event_id(malformed), None, "{malformed}");
        }
    }
}
