//! Takes the bare socket back from the HTTP library.

use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::daemon::base::handoff::ViewerSocket;
use crate::daemon::edge::gateway::connection::forget_answer_timeout;

/// The socket, off this runtime and still non-blocking, and what was read beyond the handshake. With
/// TLS, what the session has decrypted already stays in the session.
pub(super) fn take_socket(upgraded: Upgraded) -> io::Result<(ViewerSocket, Vec<u8>)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let socket = detach(parts.io.into_inner())?;
            return Ok((ViewerSocket::Plain(socket), parts.read_buf.to_vec()));
        }
        Err(upgraded) => upgraded,
    };
    match upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>() {
        Ok(parts) => {
            let (stream, session) = parts.io.into_inner().into_inner();
            let socket = ViewerSocket::Tls(detach(stream)?, Box::new(session));
            Ok((socket, parts.read_buf.to_vec()))
        }
        Err(_) => Err(io::Error::other("the connection is of a kind this server does not make")),
    }
}

fn detach(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    forget_answer_timeout(&stream)?;
    stream.into_std()
}
