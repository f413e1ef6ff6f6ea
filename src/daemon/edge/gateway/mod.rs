//! The gateway: sockets, TLS, HTTP, and the WebSocket handshake.
//!
//! In: TCP connections; `auth` messages that delivery passes on. Out: upgraded sockets to delivery
//! ([`ViewerSink`](crate::daemon::base::handoff::ViewerSink)), submissions to ingest, answers over HTTP.
//! After the handshake nothing of the HTTP library stays in memory: delivery gets the bare socket
//! (and its TLS session) and everything that was read too far.
//!
//! Always holds:
//! - Every refusal carries a stable [`ErrorCode`](crate::protocol::ErrorCode), as the JSON
//!   [`ErrorEnvelope`](crate::protocol::error_code::ErrorEnvelope) over HTTP.
//! - **How a WebSocket is refused.** Browsers hide the HTTP answer to a handshake from the page, so
//!   whatever is about the *viewer* (token, ban, unknown or ended stream, connections per user or
//!   address) is refused after the upgrade: an `error` message, `bye`, then a close frame with the
//!   code's [`CloseCode`](crate::protocol::CloseCode). Every client sees the same number. Whatever is
//!   about the *request* (not a WebSocket handshake, a parameter out of range) or the *node* (full,
//!   draining) is refused over HTTP, where it costs no upgrade and a load balancer can see it.
//! - A ban that is in force when a viewer is handed to delivery, or comes into force at that moment,
//!   ends the connection: the directory is asked again after the hand-over.
//! - No cookie or other ambient credential is read, so any web page may call the API and open viewer
//!   connections (CORS allows every origin; a token must be brought on purpose).
//! - TLS and the first request head must be done within `gateway.handshake_timeout`; between two
//!   requests of one connection as long may pass, and as long may a body take.
//!
//! When full: beyond `gateway.max_connections` viewers, a handshake is answered 503 `node_full` with
//! `Retry-After`; beyond `gateway.connections_per_second`, 503 `connection_rate` with the time at which
//! there is a place, another one for each. That is said once the request's head is read, over TLS too, for
//! only then can it be heard; nothing else is done for the request, and the socket is closed. What counts
//! is the beginning of a stream of comments, so neither health, metrics nor the API do. TLS handshakes
//! take turns, one a processor, so that a storm of them holds up nothing else. At most [`MAX_HTTP_CONNECTIONS`] sockets are in the hands of HTTP; while they are,
//! new ones wait in the kernel's accept queue. A submission that finds ingest's queue full is answered
//! `overloaded`. Bodies are bounded by `gateway.max_message_bytes`, request heads by 16 KiB.
//!
//! Room for more: live reading over plain HTTP (long poll, server-sent events) and the description of
//! the API belong beside [`api`], the overlay page beside [`page`].

mod admission;
mod answer;
mod api;
mod body;
mod connection;
mod exposition;
mod health;
mod listener;
mod page;
mod routes;
mod server;
mod state;
mod tls;
mod turns;
mod websocket;

#[cfg(test)]
mod tests;

pub use admission::{AuthTask, NameTask, ReleaseTask};
pub use connection::MAX_HTTP_CONNECTIONS;
pub use listener::GatewayError;
pub use server::{Bound, Gateway, GatewayParts, ViewerTasks};
pub use tls::{CertificateRenewal, TlsError};
