//! Takes the bare socket back from the HTTP library.

use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::daemon::edge::gateway::connection::clear_answer_timeout;
use crate::net::Transport;

/// A socket that no runtime or HTTP library holds any more.
#[derive(Debug)]
pub(super) struct BareSocket {
    pub(super) transport: Transport,
    /// Bytes the HTTP library read beyond the handshake. Bytes that TLS has decrypted but nobody
    /// has read stay in the TLS session.
    pub(super) early_bytes: Vec<u8>,
}

/// Takes the socket of an upgraded connection.
pub(super) fn take_socket(upgraded: Upgraded) -> io::Result<BareSocket> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let transport = Transport::Plain(detach(parts.io.into_inner())?);
            return Ok(BareSocket { transport, early_bytes: parts.read_buf.to_vec() });
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
        Ok(parts) => {
            let (stream, session) = parts.io.into_inner().into_inner();
            let transport = Transport::tls(detach(stream)?, session);
            Ok(BareSocket { transport, early_bytes: parts.read_buf.to_vec() })
        }
        Err(_) => Err(io::Error::other("the upgraded connection has an unexpected type")),
    }
}

fn detach(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    clear_answer_timeout(&stream)?;
    Ok(mio::net::TcpStream::from_std(stream.into_std()?))
}
