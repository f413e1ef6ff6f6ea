//! The entry of viewers, the same for all transports: the limits of the node, the right to watch
//! the stream, and the hand-over to delivery.

use std::net::IpAddr;

use axum::http::Method;
use axum::http::header::HeaderValue;

use super::admission::{ROUNDING_MS, ViewerPermit, ViewerSlot};
use super::state::GatewayState;
use crate::daemon::base::handoff::{Bearer, NewViewer, ViewerLink};
use crate::daemon::base::metrics::count;
use crate::daemon::edge::http::HttpError;
use crate::daemon::stages::control::admission::close_inadmissible_of;
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::quantity::counted;
use crate::protocol::{CloseCode, ErrorCode, StreamId, StreamPosition, UserScope};

/// A viewer that asks to watch a stream.
#[derive(Debug)]
pub(super) struct Entrant {
    pub(super) stream_id: StreamId,
    pub(super) token: Result<Option<String>, ErrorBody>,
    pub(super) address: IpAddr,
    pub(super) transport: TransportKind,
}

/// A viewer that passed all checks.
#[derive(Debug)]
pub(super) struct Admitted {
    stream_id: StreamId,
    bearer: Option<Bearer>,
    must_authenticate: bool,
    permit: ViewerPermit,
}

impl Admitted {
    /// Returns the viewer for delivery.
    pub(super) fn viewer(self, link: ViewerLink, resume_from: Option<StreamPosition>) -> NewViewer {
        NewViewer {
            link,
            stream_id: self.stream_id,
            bearer: self.bearer,
            must_authenticate: self.must_authenticate,
            resume_from,
            permit: Box::new(self.permit),
        }
    }
}

/// Refuses methods besides `GET` on a path that opens a viewer: `HEAD` would open one that is sent
/// nothing.
///
/// # Errors
/// `method_not_allowed` with the header `Allow`.
pub(super) fn get_only(method: &Method) -> Result<(), HttpError> {
    if *method == Method::GET {
        return Ok(());
    }
    let text = format!("{method} is not allowed on this path; GET is");
    let error = HttpError::new(ErrorCode::MethodNotAllowed, text);
    Err(error.with_header("allow", HeaderValue::from_static("GET")))
}

/// Takes one of the node's places for viewers.
///
/// # Errors
/// `shutting_down`, `node_full`, or `connection_rate` with the time of the next free slot.
pub(super) fn take_slot(state: &GatewayState) -> Result<ViewerSlot, HttpError> {
    try_take_slot(state).inspect_err(|error| {
        count(&state.board.metrics().connections_refused, error.body.code.as_str());
    })
}

fn try_take_slot(state: &GatewayState) -> Result<ViewerSlot, HttpError> {
    if state.board.is_draining() {
        return Err(draining());
    }
    let slot = state.slots.try_acquire().ok_or_else(|| {
        let max = counted(state.config.max_connections as u64, "connection");
        let text = format!("the node is full: it holds {max}");
        HttpError::from(ErrorBody::new(ErrorCode::NodeFull, text).retry_after_ms(RETRY_AFTER_MS))
    })?;
    state.rate.try_admit().map_err(|wait| {
        state.board.record_rate_refusal(state.clock.now_ms());
        let text = "too many viewers are connecting to this node: retry after the given time";
        // At least a millisecond: a client could take 0 for no wait at all.
        let wait_ms = (wait.as_micros() as u64).div_ceil(1000).max(1);
        let error = ErrorBody::new(ErrorCode::ConnectionRate, text).retry_after_ms(wait_ms);
        HttpError::from(error).with_header("connection", HeaderValue::from_static("close"))
    })?;
    Ok(slot)
}

/// Returns the answer to whatever a draining node does not do any more.
pub(super) fn draining() -> HttpError {
    let text = "the node is draining: connect again to reach another node";
    HttpError::new(ErrorCode::ShuttingDown, text)
        .with_header("connection", HeaderValue::from_static("close"))
}

/// Checks the viewer's right to watch the stream, counts it for its address, and registers its
/// user.
///
/// # Errors
/// Those of tokens, `banned`, `too_many_connections`, `unknown_stream` and `stream_ended`.
pub(super) async fn admit(
    state: &GatewayState,
    entrant: Entrant,
    mut slot: ViewerSlot,
) -> Result<Admitted, ErrorBody> {
    let Entrant { stream_id, token, address, transport } = entrant;
    let stream = state.watchable_stream(stream_id)?;
    let bearer = match token? {
        Some(token) => Some(state.admission.identify(&token, stream_id).await?),
        None => None,
    };
    slot.count_address(address).map_err(|limit| {
        let held = counted(limit as u64, "connection");
        let text = format!("your address already has {held}, the most allowed");
        // By then every connection was pinged, and those that are dead are closed.
        let wait = state.config.ping_interval + state.config.pong_timeout;
        ErrorBody::new(ErrorCode::TooManyConnections, text)
            .retry_after_ms(wait.as_millis() as u64 + ROUNDING_MS)
    })?;
    let must_authenticate = bearer.is_none() && !stream.anonymous;
    if must_authenticate && transport != TransportKind::Websocket {
        // Such a viewer could not send `auth` later.
        let text = "this stream needs a token: send `Authorization: Bearer <token>` or `token`";
        return Err(ErrorBody::new(ErrorCode::NotAuthenticated, text));
    }
    let user = match &bearer {
        Some(bearer) => {
            let identity = &bearer.identity;
            state.admission.register(identity, stream_id, transport, Some(address)).await?
        }
        None => None,
    };
    let permit = ViewerPermit { address, _slot: slot, _user: user };
    Ok(Admitted { stream_id, bearer, must_authenticate, permit })
}

/// Admits a viewer that is told of a refusal by the status of its answer.
///
/// # Errors
/// Those of [`take_slot`] and [`admit`], and `not_authenticated` on a stream that needs a token.
pub(super) async fn admit_over_http(
    state: &GatewayState,
    entrant: Entrant,
) -> Result<Admitted, HttpError> {
    let slot = take_slot(state)?;
    admit(state, entrant, slot).await.map_err(|error| {
        count(&state.board.metrics().connections_refused, error.code.as_str());
        error.into()
    })
}

/// Hands a viewer to delivery. A withdrawal of the key of its token, a change of its role, a ban or
/// a change of the stream that came into force meanwhile may have missed the viewer, whom delivery
/// did not know yet, so all are looked at again.
pub(super) async fn attach(state: &GatewayState, viewer: NewViewer) {
    let stream_id = viewer.stream_id;
    let user = viewer.bearer.as_ref().map(|bearer| (bearer.identity.user_id, bearer.given));
    let issuer_key = viewer.bearer.as_ref().and_then(|bearer| bearer.issuer_key);
    state.sink.attach(viewer);
    if let Some(key) = issuer_key.filter(|key| state.admission.is_withdrawn(*key)) {
        state.sink.close_signed_by([key].into()).await;
    }
    if let Some((user_id, given)) = user
        && state.admission.is_outdated(user_id, stream_id, given)
    {
        let who = UserScope::on(user_id, stream_id);
        state.sink.disconnect_user(who, CloseCode::Kicked, None).await;
    }
    let who = user.map(|(user_id, _)| UserScope::on(user_id, stream_id));
    let ban = who.and_then(|who| Some((who, state.admission.ban_error(who)?)));
    if let Some((who, error)) = ban {
        state.sink.disconnect_user(who, CloseCode::Banned, Some(error)).await;
    }
    let now_ms = state.clock.now_ms();
    close_inadmissible_of(stream_id, &state.streams, &*state.sink, now_ms).await;
}
