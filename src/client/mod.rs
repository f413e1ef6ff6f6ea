//! Connections to a daemon, from the outside: what `cli`, `tui` and tests share.
//!
//! In: a socket path or address, typed requests. Out: typed answers, live lines, sentences for
//! people. Always holds: every wait ends (an answer, an error, a dropped future), and an error says
//! what to do next. Buffers are bounded: an answer or a line beyond its limit is an error.

pub mod admin;
pub mod follow;
pub mod token;
pub mod wording;
