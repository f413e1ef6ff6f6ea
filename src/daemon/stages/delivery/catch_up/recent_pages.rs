//! Pages that were read recently, for viewers that ask a little later.
//!
//! Bounded: all pages are dropped [`KEPT_FOR`] after the first was added, or when they exceed
//! [`MAX_BYTES`].

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::time::{Instant, sleep_until};

use super::PageKey;
use super::page::Page;

/// Long enough that a storm of reconnecting viewers causes a few reads per page, not thousands.
/// Short enough that the comments sent meanwhile fit in one more page.
const KEPT_FOR: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct RecentPages {
    pages: AHashMap<PageKey, Arc<Page>>,
    bytes: usize,
    until: Option<Instant>,
}

impl RecentPages {
    pub(super) fn get(&self, key: &PageKey) -> Option<Arc<Page>> {
        self.pages.get(key).filter(|_| self.is_fresh()).cloned()
    }

    fn is_fresh(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn put(&mut self, key: PageKey, page: &Arc<Page>) {
        if !self.is_fresh() || self.bytes + page.bytes() > MAX_BYTES {
            self.clear();
        }
        if self.pages.contains_key(&key) {
            return;
        }
        self.bytes += page.bytes();
        self.until.get_or_insert_with(|| Instant::now() + KEPT_FOR);
        self.pages.insert(key, page.clone());
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Resolves when the pages are too old; never while there are none.
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
