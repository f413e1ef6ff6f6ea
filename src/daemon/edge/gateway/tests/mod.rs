//! Tests of the gateway over real sockets on 127.0.0.1, with test doubles behind it.

mod client;
mod conformance;
mod fallbacks;
mod http;
mod identities;
mod messages;
mod moderation;
mod openapi;
mod page;
mod rig;
pub(super) mod rooms;
mod sink;
mod tls;
mod tokens;
mod upgrade;
