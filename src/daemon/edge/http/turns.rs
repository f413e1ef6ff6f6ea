//! Limits how many futures are polled at one time.
//!
//! A TLS handshake is a fraction of a millisecond of computation. If thousands ran at once, they
//! would occupy all threads of the runtime, and ingest, the bus and the log, which run on the same
//! threads, would stall. With a limit, those wait for one handshake at most.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;

/// Runs `work` to its end. Each poll holds one permit of `turns`; between polls, while `work` waits
/// for the network, it holds none.
pub(crate) async fn in_turns<W: Future>(turns: &Semaphore, work: W) -> W::Output {
    let mut work = pin!(work);
    loop {
        // The semaphore is never closed. If it were, polls would not be limited.
        let turn = turns.acquire().await.ok();
        let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        drop(turn);
        if let Poll::Ready(output) = polled {
            return output;
        }
        // `work` registered this task's waker, so any wake-up may be meant for it: poll it again.
        let mut woken = false;
        poll_fn(
            |_| {
                if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
            },
        )
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
    async fn work_that_waits_for_the_network_holds_no_permit() {
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
    async fn without_a_permit_work_is_not_polled() {
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
