//! Positions as clients name them in the parameters of requests.

use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::{Epoch, StreamPosition};

/// The form of the id of a server-sent event.
pub(super) const EVENT_ID_PATTERN: &str = "^[0-9]{1,10}:[0-9]{1,16}$";

/// The largest sequence of a position. `welcome` repeats the position, in JSON.
pub(super) const MAX_SEQ: u64 = MAX_SAFE_INTEGER;

/// Returns a position that a client has named.
pub(super) fn position(epoch: u32, seq: u64) -> StreamPosition {
    StreamPosition { epoch: Epoch(epoch), seq }
}

/// Parses the id of a server-sent event: `EPOCH:SEQ`.
pub(super) fn parse_event_id(id: &str) -> Option<StreamPosition> {
    let (epoch, seq) = id.split_once(':')?;
    Some(position(parse_u32(epoch)?, parse_number(seq, MAX_SEQ)?))
}

/// Parses a number from 0 to `max` of digits only, without a sign and spaces, and with no more
/// digits than the largest has.
pub(super) fn parse_number(text: &str, max: u64) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text.len() <= max.to_string().len();
    let number = text.parse().ok().filter(|number| *number <= max);
    number.filter(|_| is_number && is_short)
}

/// Parses such a number of 32 bits.
pub(super) fn parse_u32(text: &str) -> Option<u32> {
    parse_number(text, u32::MAX.into()).and_then(|number| number.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_an_epoch_and_a_sequence() {
        assert_eq!(parse_event_id("3:841"), Some(position(3, 841)));
        let huge = parse_event_id("4294967295:9007199254740991").unwrap();
        assert_eq!((huge.epoch, huge.seq), (Epoch(u32::MAX), MAX_SEQ));
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
            "3:9007199254740992",
            "3:18446744073709551616",
            "3:00000000000000841",
        ] {
            assert_eq!(parse_event_id(malformed), None, "{malformed}");
        }
    }
}
