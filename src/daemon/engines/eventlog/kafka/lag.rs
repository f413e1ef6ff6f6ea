//! How far groups are behind: found out once for all who ask, and good for [`FRESH`].
//!
//! Finding out goes on when who asked has left, so that on a cluster slower than their patience the
//! next who asks has the answer.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::daemon::engines::eventlog::LogError;
use crate::protocol::admin::ConsumerLag;

const FRESH: Duration = Duration::from_secs(1);

type Answer = Result<Vec<ConsumerLag>, LogError>;

/// The last answer, or the one that is being found.
#[derive(Default)]
pub(super) struct Lags {
    last: Mutex<Option<Finding>>,
}

struct Finding {
    answer: Shared<BoxFuture<'static, Answer>>,
    finished_at: Arc<OnceLock<Instant>>,
}

impl Finding {
    fn start(find: impl FnOnce() -> Answer + Send + 'static) -> Self {
        let finished_at = Arc::<OnceLock<Instant>>::default();
        let finished = finished_at.clone();
        let found = tokio::task::spawn_blocking(move || {
            let answer = find();
            let _ = finished.set(Instant::now());
            answer
        });
        let answer = found
            .map(|found| {
                found.unwrap_or_else(|error| Err(LogError::Unavailable(error.to_string())))
            })
            .boxed()
            .shared();
        Self { answer, finished_at }
    }

    /// Whether it is under way, or was finished a moment ago.
    fn is_fresh(&self) -> bool {
        // One that panicked has no end.
        let ended = self.answer.peek().is_some();
        self.finished_at.get().map_or(!ended, |at| at.elapsed() < FRESH)
    }
}

impl Lags {
    /// `find` blocks. It is called if there is no fresh answer.
    pub(super) async fn get(&self, find: impl FnOnce() -> Answer + Send + 'static) -> Answer {
        let answer = {
            let mut last = self.last.lock();
            match &*last {
                Some(finding) if finding.is_fresh() => finding.answer.clone(),
                _ => last.insert(Finding::start(find)).answer.clone(),
            }
        };
        answer.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn behind(lag: u64) -> Vec<ConsumerLag> {
        let (group, topic) = ("g".to_owned(), "t".to_owned());
        vec![ConsumerLag { group, topic, partition: 0, position: 1, end: 1 + lag, lag }]
    }

    #[tokio::test]
    async fn is_found_once_for_all_who_ask_and_kept_for_a_moment() {
        let lags = Lags::default();
        let (first, second) =
            tokio::join!(lags.get(|| Ok(behind(1))), lags.get(|| panic!("found out twice")));
        assert_eq!((first.unwrap(), second.unwrap()), (behind(1), behind(1)));
        tokio::time::pause();
        tokio::time::advance(FRESH).await;
        assert_eq!(lags.get(|| Ok(behind(2))).await.unwrap(), behind(2));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waited_for_is_the_next_ones() {
        let lags = Lags::default();
        let (go, wait) = mpsc::channel();
        let slow = lags.get(move || {
            wait.recv().unwrap();
            Ok(behind(3))
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), slow).await.is_err());
        go.send(()).unwrap();
        assert_eq!(lags.get(|| panic!("found out twice")).await.unwrap(), behind(3));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_who_asks_tries_again() {
        let lags = Lags::default();
        assert!(lags.get(|| panic!("on purpose")).await.is_err());
        assert_eq!(lags.get(|| Ok(behind(4))).await.unwrap(), behind(4));
    }
}
