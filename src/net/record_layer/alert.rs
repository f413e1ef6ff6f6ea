//! The alerts that end a connection (RFC 8446 §6.2), and the errors that they tell the peer of.

use std::io::{self, ErrorKind};

/// The level of alerts that end the connection.
const FATAL: u8 = 2;

/// Tells the peer why the connection ends. The numbers are those of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FatalAlert {
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
}

impl FatalAlert {
    /// Returns the alert for an error of [`broken`]; `None` for others, such as the socket's.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        Some(error.get_ref()?.downcast_ref::<Broken>()?.alert)
    }

    pub(super) fn message(self) -> [u8; 2] {
        [FATAL, self as u8]
    }
}

#[derive(Debug)]
struct Broken {
    alert: FatalAlert,
    reason: &'static str,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for Broken {}

/// Returns an error of kind `InvalidData`.
pub(super) fn broken(alert: FatalAlert, reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, Broken { alert, reason })
}
