//! A viewer's socket, plain or with TLS, that never blocks.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use live_comments::net::Transport;
use live_comments::net::transport::Connect;
use mio::net::TcpStream;
use rustls::ClientConfig;

pub(super) struct Socket {
    transport: Transport,
    /// Bytes still to be written.
    waiting: Vec<u8>,
}

impl Socket {
    /// Begins to connect; `request` is sent once it is connected.
    pub(super) fn connect(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        request: &[u8],
    ) -> anyhow::Result<Self> {
        let tcp = Connect { address, source: None, receive_buffer_bytes: None }.start()?;
        // Closing resets, so thousands of ports are free again at once.
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))?;
        let tcp = TcpStream::from_std(tcp);
        let transport = Transport::client(tcp, tls, &address.ip().to_string())?;
        Ok(Self { transport, waiting: request.to_vec() })
    }

    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        self.transport.socket()
    }

    /// Sends a few bytes, at once if the socket takes them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// Writes as much as the socket takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            if !self.transport.is_established()? {
                return Ok(());
            }
            let taken = self.transport.write(&[IoSlice::new(&self.waiting)])?;
            self.waiting.drain(..taken);
            if self.waiting.is_empty() {
                self.waiting = Vec::new();
            }
        }
        self.transport.flush().map(drop)
    }

    /// Returns `None` if there is nothing now, and `Some(0)` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.transport.read(buffer)
    }

    /// Reports whether a read that did not fill the buffer has emptied the socket.
    pub(super) fn short_read_means_empty(&self) -> bool {
        self.transport.short_read_means_empty()
    }
}
