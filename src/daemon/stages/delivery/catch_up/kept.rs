//! Pages that were read a moment ago, for who comes a moment later.
//!
//! Bounded: [`KEPT_FOR`] after the first of them was put here, or with more than [`MAX_BYTES`], all
//! are forgotten.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::time::{Instant, sleep_until};

use super::Question;
use super::page::Page;

/// Long enough that a storm reads each place a few times, not thousands of times; short enough that
/// what was said meanwhile is one page more, or none.
const KEPT_FOR: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct Kept {
    pages: AHashMap<Question, Arc<Page>>,
    bytes: usize,
    until: Option<Instant>,
}

impl Kept {
    pub(super) fn get(&self, question: &Question) -> Option<Arc<Page>> {
        self.pages.get(question).filter(|_| self.is_fresh()).cloned()
    }

    fn is_fresh(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn put(&mut self, question: Question, page: &Arc<Page>) {
        if !self.is_fresh() || self.bytes + page.bytes() > MAX_BYTES {
            self.clear();
        }
        if self.pages.contains_key(&question) {
            return;
        }
        self.bytes += page.bytes();
        self.until.get_or_insert_with(|| Instant::now() + KEPT_FOR);
        self.pages.insert(question, page.clone());
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Resolves when what is kept is too old; never while nothing is.
    pub(super) fn expired(&self) -> impl Future<Output = ()> + use<> {
        let until = self.until;
        async move {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }
}
