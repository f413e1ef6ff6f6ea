//! The `Cache-Control` of each kind of page of a history: the time for which caches may keep it.
//!
//! A cache must never show a deleted comment for longer than 60 s. A page of the past is therefore
//! stale after [`Freshness::Past`]'s 30 s: two caches in a row that each count from the time of
//! their own request stay within the minute. After that a cache asks with the entity tag, which is
//! answered without a body while nothing has changed. It must ask: one that may not reach the
//! server must not show what it has, because nobody tells it of a deletion.

use sha2::{Digest as _, Sha256};

/// The time for which caches may keep a page, by the kind of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It is for one caller.
    Own,
    /// It may get more comments at any moment. A browser asks each time, so that a reader never
    /// misses what came in between; caches between share an answer for a second.
    Changing,
    /// It only changes by deletions and what takes them back.
    Past,
}

impl Freshness {
    pub(crate) fn cache_control(self) -> &'static str {
        match self {
            Self::Own => "private, no-cache",
            Self::Changing => "public, max-age=0, s-maxage=1",
            Self::Past => "public, max-age=30, must-revalidate",
        }
    }
}

/// Returns the entity tag of a page: that of its bytes, so that all nodes give the same.
pub(super) fn entity_tag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    let digits: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_the_bytes() {
        assert_eq!(entity_tag(b"{}"), entity_tag(b"{}"));
        assert_ne!(entity_tag(b"{}"), entity_tag(b"{ }"));
    }
}
