//! The gateway over real sockets on 127.0.0.1, everything behind it faked.

mod client;
mod http;
mod page;
mod rig;
mod sink;
mod tls;
mod tokens;
mod upgrade;
