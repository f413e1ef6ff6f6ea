//! Calls on sockets that do not wait.

use std::io::{self, ErrorKind};

pub(super) fn none_if_blocked(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if is_blocked(&error) => Ok(0),
        other => other,
    }
}

pub(super) fn some_unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_blocked(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
