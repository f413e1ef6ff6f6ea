//! The connections to the service.
//!
//! Always holds: there are never more connections than exchanges that were under way at once, which
//! the caller bounds, because a new one is made only while none is idle. A connection whose
//! exchange did not complete is closed. This is why the pool is not that of `hyper-util`, which
//! bounds idle connections only and goes on connecting for callers that gave up.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::failure::{Failure, MAX_ANSWER_BYTES};
use crate::daemon::base::http_client::{HttpConnection, HttpEndpoint, read_answer};

/// An idle connection of this age is not used again. Services commonly close idle connections after
/// 60 s or more.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept for the next exchange.
pub(super) struct Connections {
    endpoint: HttpEndpoint,
    /// The one that was used last is at the end.
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    connection: HttpConnection,
    since: Instant,
}

impl Connections {
    pub(super) fn new(endpoint: HttpEndpoint) -> Self {
        Self { endpoint, idle: Mutex::default() }
    }

    /// Returns the end of the connections.
    pub(super) fn endpoint(&self) -> &HttpEndpoint {
        &self.endpoint
    }

    /// Sends a request and returns the body of the answer. If the caller stops waiting, the
    /// connection is closed.
    ///
    /// # Errors
    /// There is no complete answer with status 200, of type JSON, of at most [`MAX_ANSWER_BYTES`].
    /// Redirections are not followed.
    pub(super) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Failure> {
        if let Some(mut idle) = self.take_idle()
            && let Ok(answer) = idle.send(request.clone()).await
        {
            return self.read(idle, answer).await;
        }
        // The service may have closed an idle connection. Only a new one tells whether it works.
        let mut connection = self.endpoint.connect().await?;
        let answer = connection.send(request).await?;
        self.read(connection, answer).await
    }

    fn take_idle(&self) -> Option<HttpConnection> {
        let mut idle = self.idle.lock();
        while let Some(IdleConnection { connection, since }) = idle.pop() {
            if since.elapsed() < MAX_IDLE && !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn read(
        &self,
        connection: HttpConnection,
        answer: Response<Incoming>,
    ) -> Result<Bytes, Failure> {
        let body = read_answer(answer, &["application/json"], MAX_ANSWER_BYTES).await?;
        self.idle.lock().push(IdleConnection { connection, since: Instant::now() });
        Ok(body)
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("idle", &self.idle.lock().len()).finish_non_exhaustive()
    }
}
