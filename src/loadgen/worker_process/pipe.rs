//! Messages over a pipe: four bytes of length, then MessagePack.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A plan with 20,000 tokens takes about 10 MiB.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Writes one message and flushes it.
///
/// # Errors
/// The other end is closed.
pub(super) fn write<T: Serialize>(output: &mut impl Write, message: &T) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    rmp_serde::encode::write(&mut bytes, message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    output.write_all(&bytes)?;
    output.flush()
}

/// Reads the next message. Returns `None` when the other end is closed.
///
/// # Errors
/// The pipe broke within a message, or the bytes are not a `T`.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other("the message is longer than 256 MiB"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    rmp_serde::from_slice(&bytes).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Endpoint;
    use crate::loadgen::ledger::AckedComment;
    use crate::loadgen::pool::{PoolCommand, PoolEvent, PoolPlan, RunContext, ViewerPlan};
    use crate::protocol::{CommentId, StreamId};

    #[test]
    fn messages_survive_the_pipe() {
        let endpoint: Endpoint = "wss://[::1]:9/chat".parse().unwrap();
        let mut viewer_plan = ViewerPlan::new(7, endpoint, StreamId(5));
        viewer_plan.tokens = vec!["a".into(); 7];
        let addresses = vec![vec!["[::1]:9".parse().unwrap(), "127.0.0.1:9".parse().unwrap()]];
        let run = RunContext { own_users: 3..9, origin_us: 77, live: true };
        let plan = PoolPlan::divide(viewer_plan, &addresses, 2, &run).remove(1);
        let comment_id = CommentId::from_unix_ticks(17_000_000_000_000_000, 7, [1; 6]);
        let acked = AckedComment { seq: u64::MAX, comment_id, intended_at: 5 };
        let mut bytes = Vec::new();
        write(&mut bytes, &plan).unwrap();
        write(&mut bytes, &PoolCommand::Acked(vec![acked; 3].into())).unwrap();
        write(&mut bytes, &PoolEvent::Finished(Box::default())).unwrap();
        let mut input = &bytes[..];
        let read_plan: PoolPlan = read(&mut input).unwrap().unwrap();
        assert_eq!(format!("{read_plan:?}"), format!("{plan:?}"));
        let command = read(&mut input).unwrap();
        assert!(matches!(command, Some(PoolCommand::Acked(acks)) if acks[..] == [acked; 3]));
        assert!(matches!(read(&mut input).unwrap(), Some(PoolEvent::Finished(_))));
        assert!(read::<PoolEvent>(&mut input).unwrap().is_none());
        assert!(read::<PoolEvent>(&mut &bytes[..9]).is_err(), "a truncated message is an error");
        assert!(read::<PoolEvent>(&mut &[0xFF; 8][..]).is_err(), "an absurd length is an error");
    }
}
