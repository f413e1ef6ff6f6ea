//! The gateway: sockets, TLS, HTTP, and the WebSocket handshake.
//!
//! In: TCP connections; `auth` messages that delivery passes on. Out: upgraded sockets to delivery
//! ([`ViewerSink`](crate::daemon::base::handoff::ViewerSink)), submissions to ingest, answers over
//! HTTP. After the handshake the HTTP library holds no memory for a viewer: delivery gets the bare
//! socket, its TLS session, and the bytes that were read beyond the handshake.
//!
//! Viewers without a WebSocket watch over [server-sent events](event_stream) or
//! [long polling](polling). They enter by the same rules ([`entry`]) and are viewers of delivery,
//! too.
//!
//! Always holds:
//! - Every refusal carries a stable [`ErrorCode`](crate::protocol::ErrorCode), as
//!   [`ProblemDetails`](crate::protocol::error_code::ProblemDetails) over HTTP. Only a request head
//!   that is too large or not HTTP is refused without a body, by the HTTP library: 431, 414 or 400.
//! - **A WebSocket is refused in one of two ways.** Browsers hide the HTTP answer to a handshake
//!   from the page. A refusal that concerns the *viewer* (token, ban, unknown or ended stream,
//!   connections per user or address) therefore comes after the upgrade: an `error` message, `bye`,
//!   then a close frame with the code's [`CloseCode`](crate::protocol::CloseCode), which every
//!   client can read. A refusal that concerns the *request* (not a WebSocket handshake, a parameter
//!   out of range) or the *node* (full, draining) is an HTTP answer, which costs no upgrade and
//!   which a load balancer can see.
//! - A ban that comes into force while a viewer is handed to delivery ends the connection: the
//!   directory is checked again after the hand-over.
//! - No cookie or other ambient credential is read. Any web page may call the API and open viewer
//!   connections (CORS allows every origin), because a token must be sent on purpose.
//! - The address of a viewer is that of its connection, or what a trusted proxy says in front of it
//!   or in a header ([`proxy`]). The paths of viewers may be below a [`base_path`].
//! - TLS and the first request head must be complete within `gateway.handshake_timeout`. The same
//!   time applies between two requests of one connection, and to each body.
//!
//! When full:
//! - Beyond `gateway.max_connections` viewers, a handshake is answered 503 `node_full` with
//!   `Retry-After`.
//! - Beyond `gateway.connections_per_second`, it is answered 503 `connection_rate` with the time of
//!   the next free slot, a different one for each client, and the socket is closed. Only requests
//!   that would open a viewer connection count; health, metrics and the API do not.
//! - TLS handshakes take turns, one per core, so that many at once do not delay other work.
//! - HTTP holds at most [`MAX_HTTP_CONNECTIONS`] sockets; more wait in the kernel's accept queue. A
//!   connection that waits on behalf of a viewer counts as the viewer's instead.
//! - A submission is answered `overloaded` while ingest's queue is full.
//! - Bodies are bounded by `gateway.max_message_bytes`, request heads by 16 KiB.

mod admission;
mod api;
mod base_path;
mod comment_pages;
mod connection;
mod entry;
mod event_stream;
mod exposition;
mod farewell;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handover;
mod health;
mod listener;
mod message_door;
mod openapi;
mod page;
mod parameters;
mod parts;
mod poll_sessions;
mod polling;
mod positions;
mod proxy;
mod reaction_door;
mod room_task;
mod routes;
mod secure_stream;
mod server;
mod state;
mod tls;
mod user_rate;
mod websocket;

#[cfg(test)]
mod tests;

pub use super::http::{CertificateRenewal, PresentedCertificate, TlsError};
pub use admission::{AuthTask, NameTask, ReleaseTask};
pub use connection::MAX_HTTP_CONNECTIONS;
pub use listener::GatewayError;
pub use parts::GatewayParts;
pub use poll_sessions::PollTask;
pub use room_task::RoomTask;
pub use server::{BoundGateway, Gateway, ViewerTasks};
pub use tls::tls_faults;
