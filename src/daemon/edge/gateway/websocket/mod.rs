//! `GET /ws/{stream_id}`: turns an HTTP request into a viewer of delivery.
//!
//! The order of checks: the handshake (HTTP error) → its parameters (HTTP error) → the node's
//! limits (HTTP error) → the viewer's right to watch the stream (close code). Then the node
//! answers `101` and hands the socket to delivery. The gateway's text says why there are two
//! kinds of refusals.

mod handshake;
mod refusal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use axum::response::{IntoResponse as _, Response};
use hyper::upgrade::OnUpgrade;

use self::handshake::Handshake;
use self::refusal::Refusal;
use super::entry::{Admitted, Entrant, admit, attach, take_slot};
use super::handover::{BareSocket, take_socket};
use super::parameters::Parameters;
use super::state::GatewayState;
use crate::daemon::base::handoff::{Deflate, ViewerLink};
use crate::daemon::edge::http::{Answer, ConnectionSlot};
use crate::protocol::admin::TransportKind;
use crate::protocol::{StreamId, StreamPosition};

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
    let slot = take_slot(&state)?;
    let transport = TransportKind::Websocket;
    let entrant = Entrant { stream_id, token: parameters.token, address: peer.ip(), transport };
    let outcome = admit(&state, entrant, slot).await.map_err(Refusal::from);
    let response = switching_protocols(&handshake);
    let upgrade = hyper::upgrade::on(&mut request);
    let connection_slot = request.extensions_mut().remove::<ConnectionSlot>();
    let tracker = state.handshakes.clone();
    tracker.spawn(async move {
        match outcome {
            Ok(admitted) => {
                let resume_from = parameters.resume_from;
                let handing_over = hand_over(&state, upgrade, &handshake, resume_from, admitted);
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
    handshake: &Handshake,
    resume_from: Option<StreamPosition>,
    admitted: Admitted,
) -> bool {
    let taken = match tokio::time::timeout(state.config.handshake_timeout, upgrade).await {
        Ok(Ok(upgraded)) => take_socket(upgraded),
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
    let link = ViewerLink::WebSocket {
        transport,
        early_bytes,
        encoding: handshake.encoding,
        deflate: handshake.deflate.map_or(Deflate::Off, |accepted| accepted.deflate),
    };
    attach(state, admitted.viewer(link, resume_from)).await;
    true
}
