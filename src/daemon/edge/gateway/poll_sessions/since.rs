//! The text by which a poller continues: `EPOCH.SEQ.SESSION.ANSWER`.

use std::fmt;

use crate::daemon::edge::gateway::positions::{MAX_SEQ, parse_number, parse_u32, position};
use crate::protocol::StreamPosition;

/// Hexadecimal digits of a session.
const SESSION_DIGITS: usize = 32;

/// Names a session. Random, because whoever knows it could take the messages of its viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(super) u128);

/// The position of a poller, its session, and the answers it has received in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since {
    /// For a session that is gone: the viewer resumes from here.
    pub(crate) position: StreamPosition,
    pub(crate) session: SessionId,
    /// The number of the last answer with messages that the client has received.
    pub(crate) answer: u32,
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, session, answer } = self;
        write!(f, "{}.{}.{:032x}.{answer}", position.epoch, position.seq, session.0)
    }
}

impl Since {
    /// Returns `None` for a text that no server has made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let epoch = parse_u32(parts.next()?)?;
        let seq = parse_number(parts.next()?, MAX_SEQ)?;
        let session = parts.next().filter(|digits| {
            digits.len() == SESSION_DIGITS
                && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })?;
        let session = SessionId(u128::from_str_radix(session, 16).ok()?);
        let answer = parse_u32(parts.next()?)?;
        let position = position(epoch, seq);
        parts.next().is_none().then_some(Self { position, session, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::MAX_SAFE_INTEGER;

    #[test]
    fn since_survives_its_text_and_is_short() {
        let longest = Since {
            position: position(u32::MAX, MAX_SAFE_INTEGER),
            session: SessionId(u128::MAX),
            answer: u32::MAX,
        };
        let first = Since { position: position(3, 841), session: SessionId(1), answer: 0 };
        for since in [longest, first] {
            let text = since.to_string();
            assert!(text.len() <= 128, "{text}");
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
            assert_eq!(Since::parse(&text), Some(since));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let session = "0".repeat(32);
        for text in [
            String::new(),
            "3.841".to_owned(),
            format!("3.841.{session}"),
            format!("3.841.{session}.0.0"),
            format!("3.-1.{session}.0"),
            format!("x.841.{session}.0"),
            format!("4294967296.841.{session}.0"),
            format!("3.841.{session}0.0"),
            format!("3.9007199254740992.{session}.0"),
            format!("3.841.{}.0", "A".repeat(32)),
            format!("3.841.{}é.0", "0".repeat(30)),
            format!("3.841.+{}.0", "0".repeat(31)),
        ] {
            assert_eq!(Since::parse(&text), None, "{text}");
        }
    }
}
