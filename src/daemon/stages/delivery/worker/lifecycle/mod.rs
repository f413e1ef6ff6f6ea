//! The lifecycle of a viewer: it joins, resumes where it was, and is closed.

mod close;
mod expiry;
mod join;
mod resume;

pub(super) use expiry::Expiries;
