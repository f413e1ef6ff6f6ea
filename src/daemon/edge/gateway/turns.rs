//! Work that many connections want at once, done by a few at a time.
//!
//! A TLS handshake is a fraction of a millisecond of arithmetic. When thousands begin at once, the
//! runtime's threads would do nothing else until the last one is done, and ingest, the bus and the log,
//! which run on the same threads, would wait. In turns, they wait for one handshake at most.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;

/// Drives `work` to its end, polling it only while it holds one of `turns`; between polls, while it
/// waits for the network, it holds none.
pub(super) async fn in_turns<W: Future>(turns: &Semaphore, work: W) -> W::Output {
    let mut work = pin!(work);
    loop {
        // Never closed; if it were, everybody would have a turn.
        let turn = turns.acquire().await.ok();
        let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        drop(turn);
        if let Poll::Ready(output) = polled {
            return output;
        }
        // The work has this task's waker: whatever wakes the task may have been meant for it.
        let mut woken = false;
        poll_fn(|_| match std::mem::replace(&mut woken, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_the_network_leaves_its_turn_to_others() {
        let turns = Arc::new(Semaphore::new(1));
        let (network, waiting) = oneshot::channel::<u32>();
        let slow = tokio::spawn({
            let turns = turns.clone();
            async move { in_turns(&turns, waiting).await }
        });
        for n in 0..100 {
            assert_eq!(
                in_turns(&turns, async move {
                    tokio::task::yield_now().await;
                    n
                })
                .await,
                n
            );
        }
        assert!(!slow.is_finished());
        network.send(7).unwrap();
        let slow = tokio::time::timeout(Duration::from_secs(10), slow);
        assert_eq!(slow.await.expect("it was woken").unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn without_a_turn_nothing_is_done() {
        let turns = Semaphore::new(1);
        let turn = turns.acquire().await.unwrap();
        let mut done = false;
        {
            let mut work = pin!(in_turns(&turns, async { done = true }));
            assert!(work.as_mut().now_or_never().is_none());
            drop(turn);
            work.await;
        }
        assert!(done);
        assert_eq!(turns.available_permits(), 1);
    }
}
