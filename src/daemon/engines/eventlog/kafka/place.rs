//! Offsets on both sides of the border. Kafka counts from 0; `seq` 0 means "nothing yet", so an
//! offset of this log is Kafka's plus one, everywhere: in positions, bounds, commits and lag.

use crate::daemon::engines::eventlog::Position;

/// The log's offset for one of Kafka's.
pub(super) fn log_offset(kafka: i64) -> u64 {
    kafka.max(0) as u64 + 1
}

/// Kafka's offset for one of the log's; 0, which is no place, means the beginning.
pub(super) fn kafka_offset(offset: u64) -> i64 {
    i64::try_from(offset.saturating_sub(1)).unwrap_or(i64::MAX)
}

pub(super) fn position(partition: i32, kafka: i64) -> Position {
    Position { partition: partition as u32, offset: log_offset(kafka) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_place_and_everything_else_goes_there_and_back() {
        assert_eq!(log_offset(0), 1);
        assert_eq!(kafka_offset(0), 0);
        for offset in [1, 2, 77, u64::from(u32::MAX)] {
            assert_eq!(log_offset(kafka_offset(offset)), offset);
        }
        assert_eq!(kafka_offset(u64::MAX), i64::MAX);
    }
}
