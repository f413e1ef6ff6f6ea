//! `GET /ws/{stream_id}`: turns an HTTP request into a viewer of delivery.
//!
//! The order of checks: the handshake (HTTP error) → its parameters (HTTP error) → the node's
//! limits (HTTP error) → the viewer's right to watch the stream (close code). Then the node
//! answers `101` and hands the socket to delivery. The gateway's text says why there are two
//! kinds of refusals.

mod handover;
mod handshake;
mod parameters;
mod refusal;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use axum::response::{IntoResponse as _, Response};
use hyper::upgrade::OnUpgrade;

use self::handover::BareSocket;
use self::handshake::Handshake;
use self::parameters::Parameters;
use self::refusal::Refusal;
use super::admission::{ROUNDING_MS, ViewerPermit, ViewerSlot};
use super::state::GatewayState;
use crate::daemon::base::handoff::{Bearer, Deflate, NewViewer};
use crate::daemon::base::metrics::count;
use crate::daemon::edge::http::{Answer, ConnectionSlot, HttpError};
use crate::daemon::stages::control::admission::close_inadmissible_of;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::quantity::counted;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::{CloseCode, ErrorCode, StreamId, StreamPosition};

/// A viewer that passed all checks.
struct Admitted {
    bearer: Option<Bearer>,
    must_authenticate: bool,
    permit: ViewerPermit,
}

pub(super) async fn upgrade(
    State(state): State<Arc<GatewayState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(stream_id): Path<String>,
    mut request: Request,
) -> Answer {
    let began = Instant::now();
    let handshake = Handshake::check(&request, state.deflate)?;
    let stream_id: StreamId = super::api::parse_id(&stream_id)?;
    let parameters = Parameters::read(&request)?;
    let slot = take_slot(&state).inspect_err(|error| {
        count(&state.board.metrics().connections_refused, error.body.code.as_str());
    })?;
    let outcome = admit(&state, stream_id, parameters.token, slot, peer.ip()).await;
    let response = switching_protocols(&handshake);
    let upgrade = hyper::upgrade::on(&mut request);
    let connection_slot = request.extensions_mut().remove::<ConnectionSlot>();
    let tracker = state.handshakes.clone();
    tracker.spawn(async move {
        match outcome {
            Ok(admitted) => {
                let resume_from = parameters.resume_from;
                let handing_over =
                    hand_over(&state, upgrade, stream_id, &handshake, resume_from, admitted);
                // A client that left or did not answer says nothing about this node.
                if handing_over.await {
                    state.meter.record_latency(1, began.elapsed());
                }
            }
            Err(refusal) => refusal.deliver(&state.board, upgrade, handshake.encoding).await,
        }
        // Held until here: a refused socket still counts as one of HTTP's.
        drop(connection_slot);
    });
    Ok(response)
}

fn take_slot(state: &GatewayState) -> Result<ViewerSlot, HttpError> {
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

async fn admit(
    state: &GatewayState,
    stream_id: StreamId,
    token: Result<Option<String>, ErrorBody>,
    mut slot: ViewerSlot,
    address: IpAddr,
) -> Result<Admitted, Refusal> {
    let stream = open_stream(state, stream_id)?;
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
    let user = match &bearer {
        Some(bearer) => state.admission.register(&bearer.identity, stream_id).await?,
        None => None,
    };
    let must_authenticate = bearer.is_none() && !stream.anonymous;
    let permit = ViewerPermit { _slot: slot, _user: user };
    Ok(Admitted { bearer, must_authenticate, permit })
}

fn open_stream(state: &GatewayState, stream_id: StreamId) -> Result<Arc<Stream>, Refusal> {
    let Some(stream) = state.streams.get(stream_id) else {
        let text = format!("there is no stream {stream_id}");
        return Err(ErrorBody::new(ErrorCode::UnknownStream, text).into());
    };
    if stream.state == StreamState::Ended {
        let text = format!("stream {stream_id} has ended; its history remains");
        return Err(ErrorBody::new(ErrorCode::StreamEnded, text).into());
    }
    Ok(stream)
}

fn switching_protocols(handshake: &Handshake) -> Response {
    let mut headers = vec![
        (UPGRADE, "websocket".to_owned()),
        (CONNECTION, "Upgrade".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, handshake.accept.clone()),
    ];
    if handshake.names_subprotocol {
        headers.push((SEC_WEBSOCKET_PROTOCOL, handshake.encoding.subprotocol().to_owned()));
    }
    if let Some(accepted) = handshake.deflate {
        headers.push((SEC_WEBSOCKET_EXTENSIONS, accepted.answer.to_owned()));
    }
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Returns whether delivery has the viewer now.
async fn hand_over(
    state: &GatewayState,
    upgrade: OnUpgrade,
    stream_id: StreamId,
    handshake: &Handshake,
    resume_from: Option<StreamPosition>,
    admitted: Admitted,
) -> bool {
    let taken = match tokio::time::timeout(state.config.handshake_timeout, upgrade).await {
        Ok(Ok(upgraded)) => handover::take_socket(upgraded),
        Ok(Err(error)) => Err(std::io::Error::other(error)),
        Err(elapsed) => Err(elapsed.into()),
    };
    let BareSocket { transport, early_bytes } = match taken {
        Ok(taken) => taken,
        // The client left before the answer. Its permit is dropped with it.
        Err(error) => {
            tracing::debug!(%error, "handshake not completed");
            return false;
        }
    };
    let user = admitted.bearer.as_ref().map(|bearer| (bearer.identity.user_id, bearer.given));
    let user_id = user.map(|(user_id, _)| user_id);
    state.sink.attach(NewViewer {
        transport,
        early_bytes,
        stream_id,
        bearer: admitted.bearer,
        must_authenticate: admitted.must_authenticate,
        encoding: handshake.encoding,
        deflate: handshake.deflate.map_or(Deflate::Off, |accepted| accepted.deflate),
        resume_from,
        permit: Box::new(admitted.permit),
    });
    // A change of the role, a ban or a change of the stream that came into force meanwhile may have
    // missed the viewer, whom delivery did not know yet.
    if let Some((user_id, given)) = user
        && state.admission.is_outdated(user_id, stream_id, given)
    {
        state.sink.disconnect_user(user_id, CloseCode::Kicked, None).await;
    }
    let ban = user_id.and_then(|user_id| Some((user_id, state.admission.ban_error(user_id)?)));
    if let Some((user_id, error)) = ban {
        state.sink.disconnect_user(user_id, CloseCode::Banned, Some(error)).await;
    }
    let now_ms = state.clock.now_ms();
    close_inadmissible_of(stream_id, &state.streams, &*state.sink, now_ms).await;
    true
}
