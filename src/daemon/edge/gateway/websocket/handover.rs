//! Takes the bare socket back from the HTTP library.

use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::daemon::base::handoff::ViewerSocket;
use crate::daemon::edge::gateway::connection::clear_answer_timeout;

/// A socket that no runtime or HTTP library holds any more.
#[derive(Debug)]
pub(super) struct BareSocket {
    /// Non-blocking.
    pub(super) socket: ViewerSocket,
    /// Bytes the HTTP library read beyond the handshake. Bytes that TLS has decrypted but nobody
    /// has read stay in the TLS session.
    pub(super) early_bytes: Vec<u8>,
}

/// Takes the socket of an upgraded connection.
pub(super) fn take_socket(upgraded: Upgraded) -> io::Result<BareSocket> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let socket = ViewerSocket::Plain(detach(parts.io.into_inner())?);
            return Ok(BareSocket { socket, early_bytes: parts.read_buf.to_vec() });
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
        Ok(parts) => {
            let (stream, session) = parts.io.into_inner().into_inner();
            let socket = ViewerSocket::Tls(detach(stream)?, Box::new(session));
            Ok(BareSocket { socket, early_bytes: parts.read_buf.to_vec() })
        }
        Err(_) => Err(io::Error::other("the upgraded connection has an unexpected type")),
    }
}

fn detach(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    clear_answer_timeout(&stream)?;
    stream.into_std()
}
