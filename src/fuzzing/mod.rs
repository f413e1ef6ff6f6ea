//! The fuzz targets: one function per parser that reads what others wrote. A target panics if a
//! property does not hold: no output beyond a limit, the same answer however the input arrives, a
//! value that survives writing and reading, no change after an error.
//!
//! Each target is used in three ways: by cargo-fuzz (`scripts/fuzz`), by the short run on seeds and
//! mutations in [`tests`], and by the property tests beside the parser. Targets of private code are
//! in a file `fuzzing.rs` beside it.

#[cfg(any(feature = "lc", feature = "daemon"))]
mod classifier;
mod filter;
mod messages;
#[cfg(feature = "lc")]
mod recording;
#[cfg(any(feature = "lc", feature = "daemon"))]
pub(crate) mod scratch;
#[cfg(test)]
#[cfg(all(feature = "lc", feature = "daemon"))]
mod tests;
mod websocket;

#[cfg(feature = "daemon")]
pub use crate::daemon::base::config::fuzzing::config;
#[cfg(feature = "daemon")]
pub use crate::daemon::edge::admin::fuzzing::admin_request;
#[cfg(feature = "daemon")]
pub use crate::daemon::edge::gateway::fuzzing::position;
#[cfg(feature = "daemon")]
pub use crate::daemon::engines::eventlog::embedded::fuzzing::log_segment;
#[cfg(feature = "daemon")]
pub use crate::daemon::stages::auth::fuzzing::token;
#[cfg(feature = "daemon")]
pub use crate::daemon::stages::auth::issuer_keys::fuzzing::key_set;
#[cfg(feature = "daemon")]
pub use crate::daemon::stages::moderation::hook::fuzzing::hook_answer;
#[cfg(feature = "daemon")]
pub use crate::daemon::stages::moderation::rules::fuzzing::{link_rule, word_list};
#[cfg(feature = "lc")]
pub use crate::tui::feed_recording;
#[cfg(any(feature = "lc", feature = "daemon"))]
pub use classifier::{model_weights, samples};
pub use filter::filter;
pub use messages::{json, msgpack};
#[cfg(feature = "lc")]
pub use recording::recording;
pub use websocket::{deflate, frame};

/// A target and its name in `fuzz/`.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
#[cfg(all(feature = "lc", feature = "daemon"))]
pub const TARGETS: [Target; 18] = [
    ("frame", frame),
    ("deflate", deflate),
    ("json", json),
    ("msgpack", msgpack),
    ("token", token),
    ("config", config),
    ("log_segment", log_segment),
    ("recording", recording),
    ("admin_request", admin_request),
    ("word_list", word_list),
    ("link_rule", link_rule),
    ("filter", filter),
    ("feed_recording", feed_recording),
    ("model_weights", model_weights),
    ("samples", samples),
    ("hook_answer", hook_answer),
    ("position", position),
    ("key_set", key_set),
];

/// Splits `COUNT` bytes of choices off the front of an input; missing ones are 0.
pub(crate) fn choices<const COUNT: usize>(data: &[u8]) -> ([u8; COUNT], &[u8]) {
    let mut choices = [0; COUNT];
    let (front, rest) = data.split_at(COUNT.min(data.len()));
    choices[..front.len()].copy_from_slice(front);
    (choices, rest)
}
