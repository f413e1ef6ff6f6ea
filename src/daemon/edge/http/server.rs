//! The accept loop, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The pause after a failed accept. The usual cause is a lack of file descriptors, and closing
/// connections return some in this time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time between two warnings about failed accepts.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A listening socket.
pub(crate) trait Listener: Sync {
    type Socket: Send;
    type Peer: Send;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Self::Peer)>> + Send;
}

impl Listener for TcpListener {
    type Socket = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

impl Listener for UnixListener {
    type Socket = UnixStream;
    type Peer = unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        self.accept().await
    }
}

/// A connection's share of its server's limit, returned when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSlot(Arc<SlotState>);

#[derive(Debug)]
struct SlotState {
    slots: Arc<Semaphore>,
    held: Mutex<HeldSlot>,
}

#[derive(Debug)]
struct HeldSlot {
    /// `None` while the slot is lent.
    permit: Option<OwnedSemaphorePermit>,
    borrowers: u32,
}

/// While one exists, the slot of its connection serves other connections.
#[derive(Debug)]
pub(crate) struct LentSlot(ConnectionSlot);

impl ConnectionSlot {
    fn new(slots: Arc<Semaphore>, permit: OwnedSemaphorePermit) -> Self {
        let held = Mutex::new(HeldSlot { permit: Some(permit), borrowers: 0 });
        Self(Arc::new(SlotState { slots, held }))
    }

    /// Lends the slot to other connections, while this one waits on behalf of a viewer that has a
    /// place of its own. Otherwise waiting viewers would keep everybody else out.
    pub(crate) fn lend(&self) -> LentSlot {
        let mut held = self.0.held.lock();
        held.borrowers += 1;
        held.permit = None;
        drop(held);
        LentSlot(self.clone())
    }

    /// Reports whether the connection has its slot. A connection that did not get it back must be
    /// closed soon.
    pub(crate) fn is_held(&self) -> bool {
        self.0.held.lock().permit.is_some()
    }
}

impl Drop for LentSlot {
    fn drop(&mut self) {
        let state = &self.0.0;
        let mut held = state.held.lock();
        held.borrowers -= 1;
        if held.borrowers == 0 {
            held.permit = state.slots.clone().try_acquire_owned().ok();
        }
    }
}

/// Accepts connections and tracks them until they end.
#[derive(Debug)]
pub(crate) struct HttpServer {
    /// For log lines.
    name: &'static str,
    slots: Arc<Semaphore>,
    connections: TaskTracker,
    finish: CancellationToken,
    cut_off: CancellationToken,
}

struct Accepted<L: Listener> {
    socket: L::Socket,
    peer: L::Peer,
    slot: ConnectionSlot,
}

impl HttpServer {
    /// Returns a server for at most `max_connections` at one time.
    pub(crate) fn new(name: &'static str, max_connections: usize) -> Self {
        Self {
            name,
            slots: Arc::new(Semaphore::new(max_connections)),
            connections: TaskTracker::new(),
            finish: CancellationToken::new(),
            cut_off: CancellationToken::new(),
        }
    }

    /// Returns the token that tells connections to answer the request they have and close.
    pub(crate) fn finish_token(&self) -> &CancellationToken {
        &self.finish
    }

    /// Accepts connections and runs `serve` for each in a task of its own, until `stop`.
    pub(crate) async fn accept_until<L, F>(
        &self,
        stop: &CancellationToken,
        listener: &L,
        serve: impl Fn(L::Socket, L::Peer, ConnectionSlot) -> F,
    ) where
        L: Listener,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut last_warning = None;
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(listener) => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok(Accepted { socket, peer, slot }) => {
                    let serving = serve(socket, peer, slot);
                    let cut_off = self.cut_off.clone();
                    self.connections.spawn(async move {
                        cut_off.run_until_cancelled(serving).await;
                    });
                }
                Err(error) => self.pause_after(&error, &mut last_warning).await,
            }
        }
    }

    /// Lets connections answer the requests they have and waits for them and for `others`. Closes
    /// the connections that are left after `grace`.
    pub(crate) async fn close(&self, grace: Duration, others: impl Future<Output = ()>) {
        self.finish.cancel();
        self.connections.close();
        let finished = async {
            self.connections.wait().await;
            others.await;
        };
        if tokio::time::timeout(grace, finished).await.is_err() {
            let connections = self.connections.len();
            warn!(
                server = self.name,
                connections, "closing connections that were not done in time"
            );
            self.cut_off.cancel();
            self.connections.wait().await;
        }
    }

    /// Waits for a slot first: a connection that cannot be served waits in the kernel, not here.
    async fn accept<L: Listener>(&self, listener: &L) -> io::Result<Accepted<L>> {
        let slot = self.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (socket, peer) = listener.accept().await?;
        let slot = ConnectionSlot::new(self.slots.clone(), slot);
        Ok(Accepted { socket, peer, slot })
    }

    /// Pauses, unless the error concerns only the connection that was to be accepted.
    async fn pause_after(&self, error: &io::Error, last_warning: &mut Option<Instant>) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if last_warning.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            let server = self.name;
            warn!(server, %error, "cannot accept connections; is the limit of open files too low?");
            *last_warning = Some(Instant::now());
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn without_a_slot_a_client_waits_in_the_kernel() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = HttpServer::new("test", 0);
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut accepting = Box::pin(server.accept(&listener));
        assert!(accepting.as_mut().now_or_never().is_none(), "no slot, nothing accepted");
        server.slots.add_permits(1);
        let accepted = accepting.await.unwrap();
        assert_eq!(accepted.peer, client.local_addr().unwrap());
        assert_eq!(server.slots.available_permits(), 0);
        drop(accepted.slot);
        assert_eq!(server.slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn lent_slot_serves_others_and_comes_back() {
        let slots = Arc::new(Semaphore::new(1));
        let permit = slots.clone().try_acquire_owned().unwrap();
        let slot = ConnectionSlot::new(slots.clone(), permit);
        let both = [slot.lend(), slot.lend()];
        assert!(!slot.is_held());
        let other = slots.clone().try_acquire_owned().unwrap();
        drop(both);
        assert!(!slot.is_held(), "another connection has it");
        drop(other);
        drop(slot.lend());
        assert!(slot.is_held());
        assert_eq!(slots.available_permits(), 0);
    }
}
