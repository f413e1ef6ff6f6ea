//! The daemon. The folders are the layers, and imports go down only:
//! `base` ← `engines` ← `stages` ← `edge` ← `node`. Stages never import each other: they meet in
//! the contracts of `engines`, in the types of `base::handoff`, and in channels that
//! `node::assembly` creates. `tests/architecture` checks it on paths.

pub mod base;
pub mod edge;
pub mod engines;
pub mod node;
pub mod stages;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, reason = "a test may fail here")]
pub(crate) mod testing;
