//! Messages over a pipe: four bytes of length, then MessagePack.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A plan with twenty thousand tokens has some ten MiB.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Writes a message and hands it over.
///
/// # Errors
/// The other end is gone.
pub(super) fn write<T: Serialize>(output: &mut impl Write, message: &T) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    rmp_serde::encode::write(&mut bytes, message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    output.write_all(&bytes)?;
    output.flush()
}

/// The next message; `None` when the other end is closed.
///
/// # Errors
/// The pipe broke within a message, or this is none.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other("a message of more than 256 MiB"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    rmp_serde::from_slice(&bytes).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Endpoint;
    use crate::loadgen::crowd::{AudiencePlan, CrowdPlan, Order, Word};
    use crate::loadgen::ledger::AckedComment;
    use crate::protocol::{CommentId, StreamId};

    #[test]
    fn what_is_written_is_read() {
        let endpoint: Endpoint = "wss://[::1]:9/chat".parse().unwrap();
        let mut audience = AudiencePlan::new(7, endpoint, StreamId(5));
        audience.tokens = vec!["a".into(); 7];
        let addresses = vec![vec!["[::1]:9".parse().unwrap(), "127.0.0.1:9".parse().unwrap()]];
        let plan = CrowdPlan::divide(audience, &addresses, 2, &(3..9), 77, true).remove(1);
        let comment_id = CommentId::from_unix_ticks(17_000_000_000_000_000, 7, [1; 6]);
        let acked = AckedComment { seq: u64::MAX, comment_id, intended_at: 5 };
        let mut bytes = Vec::new();
        write(&mut bytes, &plan).unwrap();
        write(&mut bytes, &Order::Acked(vec![acked; 3].into())).unwrap();
        write(&mut bytes, &Word::Settled(Box::default())).unwrap();
        let mut input = &bytes[..];
        let read_plan: CrowdPlan = read(&mut input).unwrap().unwrap();
        assert_eq!(format!("{read_plan:?}"), format!("{plan:?}"));
        let order = read(&mut input).unwrap();
        assert!(matches!(order, Some(Order::Acked(acks)) if acks[..] == [acked; 3]));
        assert!(matches!(read(&mut input).unwrap(), Some(Word::Settled(_))));
        assert!(read::<Word>(&mut input).unwrap().is_none());
        assert!(read::<Word>(&mut &bytes[..9]).is_err(), "a cut message is an error");
        assert!(read::<Word>(&mut &[0xFF; 8][..]).is_err(), "so is a length beyond reason");
    }
}
