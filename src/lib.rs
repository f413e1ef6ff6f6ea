//! Live comments for very large events: `lcd`, the daemon, and `lc`, the operator's tool.
//!
//! Without cargo features this is the protocol and its clients. `lc` adds the operator's tool and
//! the load generator, `daemon` the daemon on embedded engines, `engines` its engines on Kafka,
//! Redis, Cassandra and PostgreSQL.

#![cfg_attr(
    fuzzing,
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "fuzz targets use a part of what tests share"
    )
)]

#[cfg(any(feature = "lc", feature = "daemon"))]
pub mod classifier;
#[cfg(feature = "lc")]
pub mod cli;
pub mod client;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(feature = "lc")]
pub mod loadgen;
pub mod net;
#[cfg(feature = "lc")]
pub mod plan;
#[cfg(any(feature = "lc", feature = "daemon"))]
pub mod policy;
pub mod protocol;
#[cfg(feature = "lc")]
pub mod tui;
