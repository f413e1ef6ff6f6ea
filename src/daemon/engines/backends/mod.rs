//! Connections that several engines share: one pool per server or file, whatever contracts stand on
//! it.

pub mod postgres;
pub mod redis_nodes;
pub(crate) mod sqlite_file;
