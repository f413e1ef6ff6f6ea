//! The way out to one viewer: its socket, or the pipe to the task that answers it over HTTP.

use std::io::{self, IoSlice};

use bytes::Bytes;
use mio::{Interest, Registry, Token};

use crate::daemon::base::pipe::PipeWriter;
use crate::net::Transport;

/// Messages per system call.
pub(super) const MAX_SLICES: usize = 64;

/// Send buffer per viewer in the kernel, which Linux doubles. Without a bound each slow viewer
/// could pin megabytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Outlet {
    Socket(Transport),
    Pipe(PipeWriter),
}

impl Outlet {
    /// Watches the socket for events with this token. A pipe has none; it sends commands.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let Self::Socket(transport) = self else { return Ok(()) };
        transport.limit_send_buffer(SEND_BUFFER_BYTES);
        registry.register(transport.socket(), token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        if let Self::Socket(transport) = self {
            // After an error the kernel does not know the socket any more, which is the goal.
            let _ = registry.deregister(transport.socket());
        }
    }

    /// Writes one buffer. Returns the number of bytes taken, 0 if none are taken now.
    pub(super) fn write_one(&mut self, bytes: &Bytes) -> io::Result<usize> {
        match self {
            Self::Socket(transport) => transport.write(&[IoSlice::new(bytes)]),
            Self::Pipe(pipe) => pipe.write([bytes]),
        }
    }

    /// Writes from the front of up to [`MAX_SLICES`] buffers. Returns the number of bytes taken, 0
    /// if none are taken now.
    pub(super) fn write<'a>(
        &mut self,
        buffers: impl IntoIterator<Item = &'a Bytes>,
    ) -> io::Result<usize> {
        match self {
            Self::Socket(transport) => {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut count = 0;
                for (slice, bytes) in slices.iter_mut().zip(buffers) {
                    *slice = IoSlice::new(bytes);
                    count += 1;
                }
                transport.write(&slices[..count])
            }
            Self::Pipe(pipe) => pipe.write(buffers.into_iter().take(MAX_SLICES)),
        }
    }

    /// Hands what an earlier write left to the kernel. Returns false while some is left.
    ///
    /// # Errors
    /// Those of the socket, or that nobody reads the pipe any more.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Socket(transport) => transport.flush(),
            Self::Pipe(pipe) => pipe.check_reader().map(|()| true),
        }
    }

    /// Reads into `buffer`. Returns `None` if there is nothing now, and `Some(0)` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Socket(transport) => transport.read(buffer),
            Self::Pipe(_) => Ok(None),
        }
    }

    /// Reports whether a read that did not fill the buffer has emptied the socket.
    pub(super) fn short_read_means_empty(&self) -> bool {
        match self {
            Self::Socket(transport) => transport.short_read_means_empty(),
            Self::Pipe(_) => true,
        }
    }

    pub(super) fn is_pipe(&self) -> bool {
        matches!(self, Self::Pipe(_))
    }

    /// Tells the peer of a session that nothing follows, before its socket is closed.
    pub(super) fn say_close(&mut self) {
        if let Self::Socket(transport) = self {
            transport.say_close();
        }
    }

    /// Tells the peer of a socket that nothing follows. A pipe ends when it is dropped.
    pub(super) fn shutdown_write(&mut self) {
        if let Self::Socket(transport) = self {
            transport.shutdown_write();
        }
    }
}
