//! The daemon that runs with the same configuration on this machine, found by its admin socket.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::protocol::admin::Status;

/// A daemon that does not answer within this time does not count as running.
const TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET /v1/status HTTP/1.1\r\nhost: lcd\r\nconnection: close\r\n\r\n";

/// Returns the status of the daemon behind the socket, or `None` if none answers.
pub(super) async fn status(socket: &Path) -> Option<Status> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await.ok()?;
        stream.write_all(REQUEST).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let start = answer.iter().position(|byte| *byte == b'{')?;
        serde_json::from_slice(&answer[start..]).ok()
    };
    timeout(TIMEOUT, asked).await.ok().flatten()
}
