//! How a reader is woken: orders and sockets through one poll.

use std::io;
use std::sync::Arc;

use mio::{Poll, Token, Waker};
use tokio::sync::mpsc;

use super::message::Order;

/// Orders that may wait for a reader; who gives more waits.
const QUEUE_ORDERS: usize = 64;
/// The poll's token for orders; viewers have the numbers of their seats.
pub(super) const ORDERS: Token = Token(usize::MAX);

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(super) poll: Poll,
    pub(super) orders: mpsc::Receiver<Order>,
}

/// The other end. When the last is dropped, the reader ends.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    queue: Option<mpsc::Sender<Order>>,
    waker: Option<Arc<Waker>>,
}

impl Inbox {
    pub(crate) fn new() -> io::Result<(Orders, Self)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), ORDERS)?;
        let (queue, orders) = mpsc::channel(QUEUE_ORDERS);
        let waker = Some(Arc::new(waker));
        Ok((Orders { queue: Some(queue), waker }, Self { poll, orders }))
    }
}

impl Orders {
    /// For a reader that waits for the queue itself.
    pub(crate) fn queue() -> (Self, mpsc::Receiver<Order>) {
        let (queue, orders) = mpsc::channel(QUEUE_ORDERS);
        (Self { queue: Some(queue), waker: None }, orders)
    }

    /// Waits for room. An order to a reader that is gone is nobody's: its end is told elsewhere.
    pub(crate) async fn give(&self, order: Order) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(order).await;
        }
        self.wake();
    }

    /// The same, for a thread.
    pub(crate) fn give_blocking(&self, order: Order) {
        if let Some(queue) = &self.queue {
            let _ = queue.blocking_send(order);
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            // It fails only if the reader's poll is gone, and the reader with it.
            let _ = waker.wake();
        }
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        // First the queue, so that a reader that wakes finds it closed.
        self.queue = None;
        self.wake();
    }
}
