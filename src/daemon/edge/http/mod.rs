//! The parts of an HTTP server that the gateway and the admin socket share.
//!
//! In: accepted sockets of any kind and a router. Out: answers in JSON; errors as
//! [`ProblemDetails`](crate::protocol::error_code::ProblemDetails) with a stable code and its HTTP
//! status.
//!
//! Always holds: a connection occupies a slot of its server from accept to close; bodies are read
//! with a size limit and a time limit; a request head must arrive in time; a change that has begun
//! is finished, also if its client leaves.
//!
//! When full: a server without a free slot stops accepting, so new connections wait in the kernel's
//! accept queue.

mod body;
mod certificate;
mod changes;
mod conditional;
mod connection;
mod error;
mod query;
mod server;
mod takeover;
mod turns;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::protocol::json;

pub(crate) use body::{BodyLimits, parse_json, read_body, read_json, read_optional_json};
pub(crate) use certificate::{
    CertificateFiles, CertificateIdentity, crypto_provider, expiry_ms, read_certificates,
};
pub use certificate::{CertificateRenewal, PresentedCertificate, TlsError};
pub(crate) use changes::finish_changes;
pub(crate) use conditional::has_current;
pub(crate) use connection::{
    ConnectionUse, HeadLimits, HttpConnection, KeepAlive, set_answer_timeout,
};
pub(crate) use error::HttpError;
pub(crate) use query::read_query;
pub(crate) use server::{ConnectionSlot, HttpServer, LentSlot};
pub(crate) use takeover::{TakenSocket, Takeover};
pub(crate) use turns::in_turns;

/// The result of a request handler.
pub(crate) type Answer<T = Response> = Result<T, HttpError>;

/// An answer in JSON, whose numbers fit into 53 bits.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Returns a JSON answer with a status.
pub(crate) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    (status, Json(value)).into_response()
}
