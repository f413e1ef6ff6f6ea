//! A viewer's transport, driven by tokio.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;

use crate::net::Transport;
use crate::net::transport::Connect;

/// A connected socket. Reading and writing may wait at the same time, in two tasks.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: Arc<TcpStream>,
    /// Locked for system calls that do not block, never while waiting.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    transport: Transport<NonBlocking>,
    /// Bytes still to be written. Whole frames are appended, so a cancelled write loses nothing.
    outgoing: Vec<u8>,
}

impl Socket {
    /// Connects. With TLS, the handshake follows with the first write and read.
    pub(super) async fn connect(
        connect: Connect,
        tls: Option<&Arc<ClientConfig>>,
        host: &str,
    ) -> io::Result<Self> {
        let tcp = Arc::new(TcpStream::from_std(connect.start()?)?);
        let mut transport = Transport::client(NonBlocking(tcp.clone()), tls, host)?;
        loop {
            tcp.writable().await?;
            if transport.is_established()? {
                break;
            }
            // Not expected; clears the readiness.
            let _ = tcp.try_io(tokio::io::Interest::WRITABLE, || {
                io::Result::<()>::Err(ErrorKind::WouldBlock.into())
            });
        }
        Ok(Self { tcp, state: Mutex::new(State { transport, outgoing: Vec::new() }) })
    }

    /// Reads into `buffer`; 0 at the end. Cancelling it loses nothing.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Tried first: a TLS session may hold what the socket no longer shows.
            let read = self.state.lock().transport.read(buffer)?;
            if let Some(bytes) = read {
                return Ok(bytes);
            }
            self.tcp.readable().await?;
        }
    }

    /// Lets `append` add to what is to be written. Returns the number of bytes that wait.
    pub(super) fn enqueue(&self, append: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut state = self.state.lock();
        append(&mut state.outgoing);
        state.outgoing.len()
    }

    /// Waits until the kernel has everything that was enqueued. Cancelling it loses nothing.
    pub(super) async fn flush(&self) -> io::Result<()> {
        while !self.try_flush()? {
            self.tcp.writable().await?;
        }
        Ok(())
    }

    /// Writes as much as the kernel takes now. Returns false while something is left.
    pub(super) fn try_flush(&self) -> io::Result<bool> {
        self.state.lock().try_flush()
    }
}

impl State {
    fn try_flush(&mut self) -> io::Result<bool> {
        let mut written = 0;
        while written < self.outgoing.len() {
            match self.transport.write(&[IoSlice::new(&self.outgoing[written..])])? {
                0 => break,
                taken => written += taken,
            }
        }
        self.outgoing.drain(..written);
        Ok(self.transport.flush()? && self.outgoing.is_empty())
    }
}

/// Tokio's socket with the calls of a non-blocking one. A call that would block makes tokio watch
/// the socket again.
#[derive(Debug)]
struct NonBlocking(Arc<TcpStream>);

impl Read for NonBlocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for NonBlocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for NonBlocking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
