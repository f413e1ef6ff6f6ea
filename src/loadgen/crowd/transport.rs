//! A viewer's socket, plain or with TLS, read and written when the kernel says so.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, Socket, Type};

/// Small enough that a server soon feels that nobody reads.
const SLOW_WINDOW_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(super) struct Tls {
    socket: TcpStream,
    session: ClientConnection,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brought {
    /// 0 at the end of the stream.
    pub bytes: usize,
    /// Nothing more is there, so that the next read may wait for the next event.
    pub drained: bool,
}

/// How a socket is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    pub address: SocketAddr,
    /// Where to connect from; `None` leaves it to the kernel.
    pub source: Option<Ipv4Addr>,
    /// Nobody is going to read.
    pub slow: bool,
}

impl Dial {
    /// Begins to connect.
    pub(super) fn begin(self) -> io::Result<TcpStream> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if self.slow {
            socket.set_recv_buffer_size(SLOW_WINDOW_BYTES)?;
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
        Ok(TcpStream::from_std(socket.into()))
    }
}

impl Transport {
    /// With TLS where a configuration is given; the handshake goes on by itself.
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
        host: &str,
    ) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(Tls { socket, session })))
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }

    /// Whether the connection is made by now.
    pub(super) fn is_established(&mut self) -> io::Result<bool> {
        let socket = self.socket();
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes all of a few hundred bytes, for which the kernel has room on a connection that hardly
    /// ever says anything; else it is an error.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => match socket.write(bytes)? {
                written if written == bytes.len() => Ok(()),
                _ => Err(ErrorKind::WriteZero.into()),
            },
            Self::Tls(tls) => {
                tls.session.writer().write_all(bytes)?;
                tls.flush()
            }
        }
    }

    /// Goes on with what TLS still has to write.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Brought> {
        match self {
            Self::Plain(socket) => {
                let bytes = socket.read(buffer)?;
                Ok(Brought { bytes, drained: bytes < buffer.len() })
            }
            Self::Tls(tls) => Ok(Brought { bytes: tls.read(buffer)?, drained: false }),
        }
    }
}

impl Tls {
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                // The next writable event goes on.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if self.session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            self.session.process_new_packets().map_err(io::Error::other)?;
            self.flush()?;
        }
    }
}
