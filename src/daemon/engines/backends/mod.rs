//! Connections and conversions that several engines share: one pool per server or file, whichever
//! contracts use it.

pub mod postgres;
pub mod redis_nodes;
pub(crate) mod sql;
pub(crate) mod sqlite_file;
