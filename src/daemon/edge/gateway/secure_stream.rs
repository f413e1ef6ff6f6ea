//! A TLS connection of the gateway, which remembers of its handshake what delivery needs.
//!
//! rustls keeps a read buffer and the state of the handshake as long as a session lives, 8 KB for a
//! viewer that may say nothing for hours. Delivery goes on with the record layer alone
//! ([`crate::net::record_layer`]), for which two things are kept here: the traffic secrets, from
//! which later keys are derived, and the start of a record that has not arrived whole.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::KeyLog;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::net::Transport;
use crate::net::record_layer::{RecordTail, TrafficSecrets};

tokio::task_local! {
    /// The secrets of the handshake that is being polled.
    static HANDSHAKE: RefCell<TrafficSecrets>;
}

/// Hands the traffic secrets of a handshake to [`SecureStream::accept`], and to nobody else.
#[derive(Debug)]
pub(super) struct HandshakeSecrets;

impl KeyLog for HandshakeSecrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        // Outside of a handshake nobody wants them.
        let _ = HANDSHAKE.try_with(|secrets| secrets.borrow_mut().keep(label, secret));
    }

    fn will_log(&self, label: &str) -> bool {
        TrafficSecrets::wants(label)
    }
}

#[derive(Debug)]
pub(super) struct SecureStream {
    stream: TlsStream<WatchedStream>,
    secrets: TrafficSecrets,
}

impl SecureStream {
    /// Does the handshake. The configuration of `acceptor` logs keys to [`HandshakeSecrets`] and
    /// lets secrets be extracted.
    pub(super) async fn accept(acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<Self> {
        let watched = WatchedStream { stream, tail: Some(RecordTail::default()) };
        let handshake = async {
            let stream = acceptor.accept(watched).await?;
            Ok(Self { stream, secrets: HANDSHAKE.with(RefCell::take) })
        };
        HANDSHAKE.scope(RefCell::default(), handshake).await
    }

    /// Returns the protocol that was chosen (ALPN).
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.stream.get_ref().1.alpn_protocol()
    }

    /// Frees what only [`Self::detach_with`] needs.
    pub(super) fn stay_in_http(&mut self) {
        self.stream.get_mut().0.tail = None;
        self.secrets = TrafficSecrets::default();
    }

    /// Takes the connection out of the runtime. `detach` does so with its socket.
    ///
    /// # Errors
    /// It was told to [stay](Self::stay_in_http), or its socket or session cannot be taken over.
    pub(super) fn detach_with(
        self,
        detach: impl FnOnce(TcpStream) -> io::Result<mio::net::TcpStream>,
    ) -> io::Result<Transport> {
        let (WatchedStream { stream, tail }, session) = self.stream.into_inner();
        let tail = tail.ok_or_else(|| io::Error::other("the connection stays in HTTP"))?;
        Transport::server(detach(stream)?, session, &self.secrets, tail)
    }
}

/// A socket that notes the records that are read from it.
#[derive(Debug)]
struct WatchedStream {
    stream: TcpStream,
    /// `None` if nobody will ask for it.
    tail: Option<RecordTail>,
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(tail) = &mut self.tail {
            tail.pass(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes to the field of this name.
macro_rules! write_through {
    ($wrapper:ty, $field:ident) => {
        impl AsyncWrite for $wrapper {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write(context, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write_vectored(context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.$field.is_write_vectored()
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_flush(context)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_shutdown(context)
            }
        }
    };
}

write_through!(WatchedStream, stream);
write_through!(SecureStream, stream);

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
