//! Takes the socket of a connection out of HTTP/1.1 in place of an answer, as an upgrade does, but
//! for requests that ask for none.

use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::net::Transport;

/// Called with the bare socket.
pub(crate) type SocketTaker = Box<dyn FnOnce(Transport) + Send>;

/// Given to the handlers of a connection whose socket may be taken. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Takeover(Arc<Asked>);

#[derive(Default)]
struct Asked {
    taker: Mutex<Option<SocketTaker>>,
    notify: Notify,
}

/// A socket that HTTP has given up, and what becomes of it.
pub(crate) struct TakenSocket<I> {
    pub(crate) io: I,
    pub(crate) taker: SocketTaker,
}

impl std::fmt::Debug for Takeover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Takeover")
    }
}

impl Takeover {
    /// Ends HTTP on the connection and passes its socket on. Nothing of an answer has been written
    /// then. Never resolves: the caller is dropped together with its connection.
    pub(crate) async fn take(&self, taker: impl FnOnce(Transport) + Send + 'static) -> Infallible {
        *self.0.taker.lock() = Some(Box::new(taker));
        self.0.notify.notify_one();
        std::future::pending().await
    }

    /// Resolves once a handler asks for the socket.
    pub(super) async fn asked(&self) -> SocketTaker {
        loop {
            self.0.notify.notified().await;
            if let Some(taker) = self.0.taker.lock().take() {
                return taker;
            }
        }
    }
}
