//! Connections and conversions that several engines share: one pool per server or file, whichever
//! contracts use it.

#[cfg(feature = "engines")]
pub mod postgres;
#[cfg(feature = "engines")]
pub mod redis_nodes;
pub(crate) mod sql;
pub(crate) mod sqlite_file;
