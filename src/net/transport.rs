//! A non-blocking socket, plain or with TLS, for both ends of a connection.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use rustls::server::ServerConnection;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::blocking::{is_blocked, none_if_blocked, some_unless_blocked};
use super::record_layer::{RecordLayer, RecordTail, TakeOver, TrafficSecrets};

/// Bytes that rustls may buffer for a peer that does not read.
const TLS_BUFFER_BYTES: usize = 64 * 1024;

/// A connected or connecting socket with its TLS session. No call waits; the owner learns from
/// [`Transport::socket`] when to call again. The socket is mio's, except in an async client.
#[derive(Debug)]
pub enum Transport<S = TcpStream> {
    Plain(S),
    Tls(Box<TlsSocket<S>>),
    /// TLS 1.3 after a handshake as the server, without what rustls keeps of it.
    Records(Box<RecordSocket<S>>),
}

#[derive(Debug)]
pub struct TlsSocket<S> {
    socket: S,
    session: rustls::Connection,
}

#[derive(Debug)]
pub struct RecordSocket<S> {
    socket: S,
    records: RecordLayer,
}

/// The parameters of an outgoing connection.
#[derive(Debug, Clone, Copy)]
pub struct Connect {
    pub address: SocketAddr,
    /// The local address; `None` leaves it to the kernel.
    pub source: Option<Ipv4Addr>,
    /// Size of the kernel's receive buffer, where the default would hide that nobody reads.
    pub receive_buffer_bytes: Option<usize>,
}

impl Connect {
    /// Begins to connect; [`Transport::is_established`] tells when it is done.
    pub fn start(self) -> io::Result<std::net::TcpStream> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = self.source {
            // The port is chosen when the target is known, so that each target has all ports.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(socket.into())
    }
}

impl<S: Read + Write + AsFd> Transport<S> {
    /// A client's end. With `tls`, the handshake proceeds with the reads and writes that follow.
    pub fn client(socket: S, tls: Option<&Arc<ClientConfig>>, host: &str) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Self::tls(socket, session))
    }

    /// Either end, with a session that may have begun already.
    pub fn tls(socket: S, session: impl Into<rustls::Connection>) -> Self {
        let mut session = session.into();
        session.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        Self::Tls(Box::new(TlsSocket { socket, session }))
    }

    /// The server's end after its handshake. `tail` has seen every byte that the session was given;
    /// `secrets` are those of the handshake.
    ///
    /// # Errors
    /// The configuration of the session does not let secrets out.
    pub fn server(
        socket: S,
        session: ServerConnection,
        secrets: &TrafficSecrets,
        tail: RecordTail,
    ) -> io::Result<Self> {
        Ok(match RecordLayer::take_over(session, secrets, tail)? {
            TakeOver::Taken(records) => {
                Self::Records(Box::new(RecordSocket { socket, records: *records }))
            }
            TakeOver::Kept(session) => Self::tls(socket, *session),
        })
    }

    pub fn socket(&mut self) -> &mut S {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
            Self::Records(tls) => &mut tls.socket,
        }
    }

    /// Limits what the kernel holds for a peer that does not read (Linux doubles the number).
    pub fn limit_send_buffer(&mut self, bytes: usize) {
        // Without the limit slow viewers cost more kernel memory and nothing else.
        let _ = SockRef::from(&*self.socket()).set_send_buffer_size(bytes);
    }

    /// Reports whether an outgoing connection is made; an error if it failed.
    pub fn is_established(&mut self) -> io::Result<bool> {
        let socket = SockRef::from(&*self.socket());
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes from the front of the slices. Returns the number of bytes taken, 0 if the socket
    /// takes none now.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
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
            Self::Records(tls) => tls.records.write(&mut tls.socket, slices),
        }
    }

    /// Writes all of a short message.
    ///
    /// # Errors
    /// `WouldBlock` if none of it was taken, `WriteZero` if only a part was.
    pub fn write_short(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.write(&[IoSlice::new(bytes)])? {
            taken if taken == bytes.len() => Ok(()),
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// Hands what an earlier write left to the kernel. Returns false while some is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(tls) => tls.flush(),
            Self::Records(tls) => tls.records.flush(&mut tls.socket),
        }
    }

    /// Reads into `buffer`. Returns `None` if there is nothing now, and `Some(0)` at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(socket) => some_unless_blocked(socket.read(buffer)),
            Self::Tls(tls) => tls.read(buffer),
            Self::Records(tls) => tls.records.read(&mut tls.socket, buffer),
        }
    }

    /// Reports whether a read that did not fill the buffer has emptied the socket.
    pub fn short_read_means_empty(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Tells the peer of a session that nothing follows, if the socket takes it now.
    pub fn say_close(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Tls(tls) => {
                tls.session.send_close_notify();
                // The peer may be gone already; the socket is closed either way.
                let _ = tls.flush();
            }
            Self::Records(tls) => tls.records.say_close(&mut tls.socket),
        }
    }

    pub fn shutdown_write(&mut self) {
        self.say_close();
        let _ = SockRef::from(&*self.socket()).shutdown(Shutdown::Write);
    }
}

impl<S: Read + Write> TlsSocket<S> {
    /// Returns true once the session has nothing left to write.
    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if is_blocked(&error) => return Ok(false),
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
                    let state = self.session.process_new_packets();
                    // Key updates are answered at once, and the peer is told of an error.
                    let flushed = self.flush();
                    state.map_err(io::Error::other)?;
                    flushed?;
                }
            }
        }
    }
}
