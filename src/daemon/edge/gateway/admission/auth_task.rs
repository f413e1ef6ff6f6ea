//! Answers `auth` messages of viewers that connected without a token.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Admission;
use super::permit::LatePermit;
use crate::daemon::base::handoff::{AuthRequest, Bearer, Permit, ViewerSink};
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, UserScope};

/// Requests handled at one time; more wait in delivery's queue.
const CONCURRENT: usize = 64;

/// Verifies tokens, registers their users, and answers delivery. The permit of an answer comes in
/// addition to the one the connection has; delivery holds both until the connection ends.
#[derive(Debug)]
pub struct AuthTask {
    requests: mpsc::Receiver<AuthRequest>,
    admission: Arc<Admission>,
    sink: Arc<dyn ViewerSink>,
}

impl AuthTask {
    pub(crate) fn new(
        requests: mpsc::Receiver<AuthRequest>,
        admission: Arc<Admission>,
        sink: Arc<dyn ViewerSink>,
    ) -> Self {
        Self { requests, admission, sink }
    }

    /// Runs until `stop`, or until delivery has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            tokio::select! {
                request = self.requests.recv(), if in_flight.len() < CONCURRENT => match request {
                    Some(request) => {
                        in_flight.push(answer(request, &self.admission, &self.sink));
                    }
                    None => break,
                },
                Some(()) = in_flight.next() => {}
                () = stop.cancelled() => return,
            }
        }
        while in_flight.next().await.is_some() {}
    }
}

async fn answer(request: AuthRequest, admission: &Admission, sink: &Arc<dyn ViewerSink>) {
    let outcome = admit(&request, admission).await;
    let admitted = outcome.as_ref().ok().map(|(bearer, _)| (bearer.identity.user_id, bearer.given));
    let stream_id = request.stream_id;
    let who = admitted.map(|(user_id, _)| UserScope::on(user_id, stream_id));
    let issuer_key = outcome.as_ref().ok().and_then(|(bearer, _)| bearer.issuer_key);
    sink.authenticated(request.connection, outcome);
    // A withdrawal that was made meanwhile may have missed the viewer.
    if let Some(key) = issuer_key.filter(|key| admission.is_withdrawn(*key)) {
        sink.close_signed_by([key].into()).await;
    }
    // A ban that came into force meanwhile may have missed the user, whom delivery did not know
    // yet.
    let ban = who.and_then(|who| Some((who, admission.ban_error(who)?)));
    if let Some((who, error)) = ban {
        sink.disconnect_user(who, CloseCode::Banned, Some(error)).await;
        return;
    }
    // So may a change of the role.
    if let Some((user_id, given)) = admitted
        && admission.is_outdated(user_id, stream_id, given)
    {
        sink.disconnect_user(UserScope::on(user_id, stream_id), CloseCode::Kicked, None).await;
    }
}

async fn admit(
    request: &AuthRequest,
    admission: &Admission,
) -> Result<(Bearer, Box<dyn Permit>), ErrorBody> {
    let bearer = admission.identify(&request.token, request.stream_id).await?;
    // Only WebSockets can send `auth`.
    let transport = TransportKind::Websocket;
    let AuthRequest { stream_id, address, .. } = *request;
    let user = admission.register(&bearer.identity, stream_id, transport, address).await?;
    Ok((bearer, Box::new(LatePermit { _user: user })))
}
