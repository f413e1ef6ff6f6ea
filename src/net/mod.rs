//! What both ends of a connection need.

pub mod backoff;
