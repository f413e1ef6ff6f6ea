//! Tests of the gateway over real sockets on 127.0.0.1, with test doubles behind it.

mod client;
mod fallbacks;
mod http;
mod moderation;
mod page;
mod rig;
pub(super) mod rooms;
mod sink;
mod tls;
mod tokens;
mod upgrade;
