//! Answers `auth` messages of viewers that connected without a token.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Admission;
use super::permit::LatePermit;
use crate::daemon::base::handoff::{AuthRequest, Bearer, Permit, ViewerSink};
use crate::protocol::CloseCode;
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::ErrorBody;

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
    let user_id = outcome.as_ref().ok().map(|(bearer, _)| bearer.identity.user_id);
    sink.authenticated(request.connection, outcome);
    // A ban that came into force meanwhile may have missed the user, whom delivery did not know
    // yet.
    let ban = user_id.and_then(|user_id| Some((user_id, admission.ban_error(user_id)?)));
    if let Some((user_id, error)) = ban {
        sink.disconnect_user(user_id, CloseCode::Banned, Some(error)).await;
    }
}

async fn admit(
    request: &AuthRequest,
    admission: &Admission,
) -> Result<(Bearer, Box<dyn Permit>), ErrorBody> {
    let bearer = admission.identify(&request.token)?;
    // Only WebSockets can send `auth`.
    let transport = TransportKind::Websocket;
    let user = admission.register(&bearer.identity, request.stream_id, transport).await?;
    Ok((bearer, Box::new(LatePermit { _user: user })))
}
