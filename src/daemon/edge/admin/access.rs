//! Who makes a request, and whether its role allows it.
//!
//! Always holds: a request is answered only after its caller is known and its role was compared
//! with the one that its path needs, before a byte of its body is read. On the admin socket the
//! operating system tells the peer, which is an operator. Over the network a token or a client
//! certificate proves the caller; a claimed name counts for nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Extensions, Method};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::AdminState;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::edge::http::{HttpError, Json};
use crate::daemon::stages::auth::Verifier;
use crate::daemon::stages::control::Actor;
use crate::protocol::ErrorCode;
use crate::protocol::admin::{ACTOR_HEADER, AdminRole, Session, needed_role};
use crate::protocol::error_code::ErrorBody;

/// The least time between two log lines about refused callers.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(10);

/// The process at the other end of the socket, as the operating system reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) uid: u32,
}

/// The other end of a connection over the network.
#[derive(Debug, Clone)]
pub(super) struct RemotePeer {
    pub(super) address: SocketAddr,
    /// `None` if it showed none. What it showed is signed by `admin.client_ca`.
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) rules: Arc<AccessRules>,
}

/// A certificate that a client proved to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    /// The common name, or else the first DNS name or URI.
    pub(super) name: String,
    /// Milliseconds since the Unix epoch.
    pub(super) ends_at_ms: u64,
}

/// The rules by which callers over the network get their roles.
#[derive(Debug)]
pub(super) struct AccessRules {
    /// `admin.roles` of the configuration.
    pub(super) roles: BTreeMap<String, AdminRole>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) clock: SharedClock,
    pub(super) refusals: RefusalLog,
}

/// Tells the log of callers that prove nothing, so that operators see that somebody tries. However
/// many there are, it is one line per [`REFUSAL_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    last_line: Option<Instant>,
    since_then: u64,
}

impl RefusalLog {
    fn record(&self, peer: SocketAddr, code: ErrorCode) {
        if let Some(others) = self.due(Instant::now()) {
            let code = code.as_str();
            warn!(%peer, code, others, "refused a caller of the admin API");
        }
    }

    /// Returns the number of refusals without a line of their own, if a line is due.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut refusals = self.0.lock();
        let is_due = refusals
            .last_line
            .is_none_or(|last| now.saturating_duration_since(last) >= REFUSAL_INTERVAL);
        if !is_due {
            refusals.since_then += 1;
            return None;
        }
        refusals.last_line = Some(now);
        Some(std::mem::take(&mut refusals.since_then))
    }
}

/// The person who makes a request, and its role.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) actor: Actor,
    pub(super) role: AdminRole,
    /// The time until the proof ends; `None` on the admin socket.
    left: Option<Duration>,
}

impl Caller {
    fn of(extensions: &Extensions, headers: &HeaderMap) -> Result<Self, HttpError> {
        if let Some(peer) = extensions.get::<Peer>() {
            let claimed = headers.get(ACTOR_HEADER);
            let claimed = claimed.map(|value| String::from_utf8_lossy(value.as_bytes()));
            let actor = Actor::operator(claimed.as_deref(), peer.uid);
            return Ok(Self { actor, role: AdminRole::Operator, left: None });
        }
        let Some(peer) = extensions.get::<RemotePeer>() else {
            return Err(HttpError::new(ErrorCode::Internal, "the peer of the socket is unknown"));
        };
        match (headers.get(AUTHORIZATION), &peer.certificate) {
            (Some(header), _) => peer.rules.caller_by_token(header),
            (None, Some(certificate)) => peer.rules.caller_by_certificate(certificate),
            (None, None) => Err(not_authenticated(
                "show a client certificate that admin.client_ca has signed, or a token: \
                 `lc token --admin ROLE --name NAME` on the daemon's machine makes one",
            )),
        }
    }

    /// Checks that the caller has at least a role.
    ///
    /// # Errors
    /// `forbidden`, with the role that is needed.
    pub(super) fn require(&self, needed: AdminRole) -> Result<(), HttpError> {
        if self.role >= needed {
            return Ok(());
        }
        let text = format!(
            "this needs the role {needed}, and {} has the role {}",
            self.actor.name(),
            self.role
        );
        Err(HttpError::new(ErrorCode::Forbidden, text))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| HttpError::new(ErrorCode::Internal, "the caller is unknown"))
    }
}

impl AccessRules {
    fn caller_by_token(&self, header: &HeaderValue) -> Result<Caller, HttpError> {
        let text = header.to_str().unwrap_or_default();
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(not_authenticated("write `Authorization: Bearer TOKEN`")),
        };
        let verified = self.verifier.verify_admin(token).map_err(|error| {
            let body = ErrorBody::from(error);
            let text = format!("{}; `lc token --admin ROLE` makes one", body.message);
            refused(ErrorBody { message: text, ..body })
        })?;
        Ok(Caller {
            actor: Actor::proved(&verified.identity.name, "token"),
            role: verified.identity.role,
            left: Some(self.left(verified.ends_at_ms)),
        })
    }

    fn caller_by_certificate(&self, certificate: &ClientCertificate) -> Result<Caller, HttpError> {
        let left = self.left(certificate.ends_at_ms);
        if left.is_zero() {
            // The handshake has checked it, but the connection may be older.
            return Err(not_authenticated("the client certificate has expired: renew it"));
        }
        let name = &certificate.name;
        let Some(role) = self.roles.get(name).copied() else {
            let text = format!("the certificate of `{name}` has no role here: see [admin.roles]");
            return Err(HttpError::new(ErrorCode::Forbidden, text));
        };
        Ok(Caller { actor: Actor::proved(name, "certificate"), role, left: Some(left) })
    }

    fn left(&self, ends_at_ms: u64) -> Duration {
        Duration::from_millis(ends_at_ms.saturating_sub(self.clock.now_ms()))
    }
}

fn not_authenticated(text: &str) -> HttpError {
    refused(ErrorBody::new(ErrorCode::NotAuthenticated, text))
}

/// Returns the error for a peer that has proved nothing. Its connection is closed, so that it takes
/// no place of others.
fn refused(body: ErrorBody) -> HttpError {
    HttpError::from(body).with_header("connection", HeaderValue::from_static("close"))
}

/// Answers a request if its caller is known and has the role that its path needs. Reading needs the
/// least role. A live answer ends with what proves its caller.
pub(super) async fn authorize(mut request: Request, next: Next) -> Result<Response, HttpError> {
    let caller = Caller::of(request.extensions(), request.headers()).inspect_err(|error| {
        if let Some(peer) = request.extensions().get::<RemotePeer>() {
            peer.rules.refusals.record(peer.address, error.body.code);
        }
    })?;
    let path = request.extensions().get::<MatchedPath>();
    let needed = match (request.method(), path) {
        (&Method::GET | &Method::HEAD, _) => AdminRole::Viewer,
        // Without a path of the router there is nothing to do; a fault there opens nothing.
        (_, path) => path.map_or(AdminRole::Operator, |path| needed_role(path.as_str())),
    };
    caller.require(needed)?;
    let left = caller.left;
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    Ok(match left {
        Some(left) => ending_after(response, left),
        None => response,
    })
}

fn ending_after(response: Response, left: Duration) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let ends = tokio::time::sleep(left);
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(ends)))
}

/// Tells the caller who it is, and on which cluster.
pub(super) async fn session(State(state): State<AdminState>, caller: Caller) -> Json<Session> {
    Json(Session {
        node: state.parts.about.node.to_string(),
        role: caller.role,
        actor: caller.actor.name().to_owned(),
        cluster: state.parts.about.cluster.clone(),
        colour: state.parts.about.colour,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_few_lines() {
        let log = RefusalLog::default();
        let start = Instant::now();
        let due = |after_ms| log.due(start + Duration::from_millis(after_ms));
        assert_eq!(due(0), Some(0), "the first is told at once");
        assert_eq!([due(1), due(5_000), due(9_999)], [None; 3]);
        assert_eq!(due(10_000), Some(3));
        assert_eq!(due(30_000), Some(0));
    }
}
