//! A viewer's socket as a worker sees it: plain, or with its TLS session.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::daemon::base::handoff::ViewerSocket;

/// What the kernel may hold for a viewer that does not read (Linux doubles it); without a bound each
/// slow viewer could pin megabytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// What rustls may hold for one.
const TLS_BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

#[derive(Debug)]
pub(super) struct TlsSocket {
    socket: TcpStream,
    session: Box<rustls::ServerConnection>,
}

impl Transport {
    pub(super) fn new(socket: ViewerSocket) -> Self {
        match socket {
            ViewerSocket::Plain(socket) => Self::Plain(prepare(socket)),
            ViewerSocket::Tls(socket, mut session) => {
                session.set_buffer_limit(Some(TLS_BUFFER_BYTES));
                Self::Tls(Box::new(TlsSocket { socket: prepare(socket), session }))
            }
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }

    /// Writes from the front of the slices; how many bytes were taken, 0 if none can be now.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => match slices {
                [one] => none_if_blocked(socket.write(one)),
                many => none_if_blocked(socket.write_vectored(many)),
            },
            Self::Tls(tls) => {
                if !tls.flush()? {
                    return Ok(0);
                }
                let taken = tls.session.writer().write_vectored(slices)?;
                tls.flush()?;
                Ok(taken)
            }
        }
    }

    /// Hands what an earlier write left to the kernel; false while some is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Reads into `buffer`: `Ok(None)` if there is nothing now, `Ok(Some(0))` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(socket) => some_unless_blocked(socket.read(buffer)),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Whether a read that did not fill the buffer has emptied the socket.
    pub(super) fn short_read_means_empty(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub(super) fn shutdown_write(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // The peer may be gone already; the socket is closed either way.
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }
}

impl TlsSocket {
    /// True once the session has nothing left to write.
    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.session.reader().read(buffer) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match some_unless_blocked(self.session.read_tls(&mut self.socket))? {
                None => return Ok(None),
                Some(0) => return Ok(Some(0)),
                Some(_) => {
                    self.session.process_new_packets().map_err(io::Error::other)?;
                    // Key updates and alerts are answered at once.
                    self.flush()?;
                }
            }
        }
    }
}

fn prepare(socket: std::net::TcpStream) -> TcpStream {
    // Without it slow viewers cost more kernel memory and nothing else.
    let _ = socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES);
    TcpStream::from_std(socket)
}

fn none_if_blocked(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if is_blocked(&error) => Ok(0),
        other => other,
    }
}

fn some_unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_blocked(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
