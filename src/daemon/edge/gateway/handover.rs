//! Takes the bare socket back from the HTTP library.

use std::io;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::secure_stream::SecureStream;
use crate::daemon::edge::http::set_answer_timeout;
use crate::net::Transport;

/// A socket that no runtime or HTTP library holds any more.
#[derive(Debug)]
pub(super) struct BareSocket {
    pub(super) transport: Transport,
    /// Bytes the HTTP library read beyond the handshake. Bytes that TLS has decrypted but nobody
    /// has read stay in the transport.
    pub(super) early_bytes: Vec<u8>,
}

/// Takes the socket of an upgraded connection. How long its viewer may not read is then for
/// delivery to decide.
pub(super) fn take_socket(upgraded: Upgraded) -> io::Result<BareSocket> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let transport = parts.io.into_inner().into_transport(None)?;
            return Ok(BareSocket { transport, early_bytes: parts.read_buf.to_vec() });
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<SecureStream>>() {
        Ok(parts) => {
            let transport = parts.io.into_inner().into_transport(None)?;
            Ok(BareSocket { transport, early_bytes: parts.read_buf.to_vec() })
        }
        Err(_) => Err(io::Error::other("the upgraded connection has an unexpected type")),
    }
}

/// A socket of the gateway, plain or with TLS.
pub(super) trait IntoTransport {
    /// Takes the socket out of the runtime. The kernel ends the connection once the peer has
    /// acknowledged nothing for `answer_timeout`, if it is given.
    fn into_transport(self, answer_timeout: Option<Duration>) -> io::Result<Transport>;
}

impl IntoTransport for TcpStream {
    fn into_transport(self, answer_timeout: Option<Duration>) -> io::Result<Transport> {
        Ok(Transport::Plain(detach(self, answer_timeout)?))
    }
}

impl IntoTransport for SecureStream {
    fn into_transport(self, answer_timeout: Option<Duration>) -> io::Result<Transport> {
        self.detach_with(|stream| detach(stream, answer_timeout))
    }
}

fn detach(stream: TcpStream, timeout: Option<Duration>) -> io::Result<mio::net::TcpStream> {
    set_answer_timeout(&stream, timeout)?;
    Ok(mio::net::TcpStream::from_std(stream.into_std()?))
}
