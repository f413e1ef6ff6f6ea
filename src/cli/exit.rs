//! The exit codes of `lc`. Its `--help` documents them.

use std::process::ExitCode;

use super::output::{OutputError, note, note_lines};
use crate::client::TokenSourceError;
use crate::client::admin::AdminError;
use crate::protocol::printable::describe;

pub const OK: u8 = 0;
/// The daemon refused the request, or the command failed.
pub const FAILED: u8 = 1;
/// A threshold of `loadgen --fail-if` was exceeded, or a run is not as `plan --check` plans it.
pub const THRESHOLD: u8 = 2;
/// `lc status`: viewers are served, and there are warnings.
pub const DEGRADED: u8 = 3;
/// `lc status`: the node does not serve viewers.
pub const FAILING: u8 = 4;
/// `lc wait`: the time is up and the condition does not hold.
pub const TIMED_OUT: u8 = 5;
/// The command line is invalid (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// No daemon listens on the socket or at the address (`EX_UNAVAILABLE`).
pub const NO_DAEMON: u8 = 69;
/// This user may not use the socket, is not known to the daemon, or may not do this (`EX_NOPERM`).
pub const NOT_PERMITTED: u8 = 77;

/// A fault of a command line that only the command itself can see. The text may have
/// several lines.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Returns the exit code for the error that ended a command.
pub fn code(error: &anyhow::Error) -> u8 {
    if stdout_is_closed(error) {
        return OK;
    }
    if error.chain().any(|cause| cause.is::<UsageError>()) {
        return USAGE;
    }
    if error
        .chain()
        .any(|cause| matches!(cause.downcast_ref(), Some(TokenSourceError::Nowhere { .. })))
    {
        return NO_DAEMON;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<AdminError>()) {
        Some(
            AdminError::NotRunning { .. }
            | AdminError::Unreachable { .. }
            | AdminError::Untrusted { .. },
        ) => NO_DAEMON,
        Some(
            AdminError::NotPermitted { .. }
            | AdminError::CredentialsRefused { .. }
            | AdminError::ReadOnly,
        ) => NOT_PERMITTED,
        Some(AdminError::Refused(body)) if matches!(body.code.http_status(), 401 | 403) => {
            NOT_PERMITTED
        }
        Some(AdminError::Refused(_) | AdminError::Broken(_)) | None => FAILED,
    }
}

/// Prints the error to stderr and returns its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(UsageError(text)) = error.downcast_ref() {
        note_lines(&format!("lc: {text}"));
    } else if !stdout_is_closed(error) {
        note(&format!("lc: {}", describe(error.as_ref())));
    }
    code(error).into()
}

/// Returns whether the reader of stdout has closed it, as in `lc tail 1 | head`.
fn stdout_is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(OutputError::Closed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;
    use crate::protocol::error_code::ErrorBody;
    use anyhow::Context as _;
    use std::io;

    #[test]
    fn each_error_has_its_exit_code() {
        let refused = AdminError::Refused(ErrorBody::new(ErrorCode::NotFound, "no such user"));
        assert_eq!(code(&refused.into()), FAILED);
        let forbidden = AdminError::Refused(ErrorBody::new(ErrorCode::Forbidden, "not yours"));
        assert_eq!(code(&forbidden.into()), NOT_PERMITTED);
        let closed = AdminError::NotPermitted { socket: "/run/lcd/admin.sock".into() };
        assert_eq!(code(&closed.into()), NOT_PERMITTED);
        assert_eq!(code(&UsageError("no column".to_owned()).into()), USAGE);
        let absent = || AdminError::NotRunning {
            socket: "/run/lcd/admin.sock".into(),
            cause: io::ErrorKind::NotFound.into(),
        };
        assert_eq!(code(&absent().into()), NO_DAEMON);
        let node = "lcd://edge-1:7443".to_owned();
        let silent = AdminError::Unreachable { node: node.clone(), cause: "refused".to_owned() };
        assert_eq!(code(&silent.into()), NO_DAEMON);
        let refused = AdminError::CredentialsRefused { node, why: "unknown CA".to_owned() };
        assert_eq!(code(&refused.into()), NOT_PERMITTED);
        let wrapped = Err::<(), _>(absent()).context("while asking").unwrap_err();
        assert_eq!(code(&wrapped), NO_DAEMON);
        let nowhere = TokenSourceError::Nowhere {
            admin: "no daemon".to_owned(),
            secret_path: "/var/lib/lcd/signing.key".into(),
            secret: io::ErrorKind::NotFound.into(),
        };
        assert_eq!(code(&nowhere.into()), NO_DAEMON);
        let on_stdout = |kind: io::ErrorKind| OutputError::from(io::Error::from(kind));
        assert_eq!(code(&on_stdout(io::ErrorKind::BrokenPipe).into()), OK);
        assert_eq!(code(&on_stdout(io::ErrorKind::StorageFull).into()), FAILED);
        let elsewhere = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(code(&elsewhere.into()), FAILED, "a broken connection is no success");
        assert_eq!(code(&anyhow::anyhow!("anything else")), FAILED);
    }
}
