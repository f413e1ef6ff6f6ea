//! Live lines across restarts of the daemon: a connection that ends is opened again.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;

use super::admin::{AdminClient, AdminError};
use crate::net::backoff::{Backoff, BackoffBounds};

const BOUNDS: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(250), longest: Duration::from_secs(4) };

/// An item of a followed stream.
#[derive(Debug)]
pub enum Followed<R> {
    Item(R),
    /// The connection ended. The next attempt comes after `retry_in`; lines written in between are
    /// missing.
    Lost {
        why: AdminError,
        retry_in: Duration,
    },
    /// The daemon refused for good; nothing follows.
    Ended(AdminError),
}

/// Follows `path` across restarts of the daemon.
///
/// # Errors
///
/// Only the first attempt fails the call: a user who starts this while no daemon runs should know
/// at once.
pub async fn follow<R: DeserializeOwned + Send + 'static>(
    client: AdminClient,
    path: String,
) -> Result<impl Stream<Item = Followed<R>> + Send, AdminError> {
    let lines: BoxLines<R> = Box::pin(client.lines(&path).await?);
    let follower = Follower {
        client,
        path,
        lines: Some(lines),
        backoff: BOUNDS.start(),
        retry_in: BOUNDS.first,
        ended: false,
    };
    Ok(futures_util::stream::unfold(follower, async |mut follower| {
        let item = follower.next().await?;
        Some((item, follower))
    }))
}

type BoxLines<R> = Pin<Box<dyn Stream<Item = Result<R, AdminError>> + Send>>;

struct Follower<R> {
    client: AdminClient,
    path: String,
    /// `None` between two connections.
    lines: Option<BoxLines<R>>,
    backoff: Backoff,
    /// The wait before the next attempt.
    retry_in: Duration,
    ended: bool,
}

impl<R: DeserializeOwned + Send + 'static> Follower<R> {
    async fn next(&mut self) -> Option<Followed<R>> {
        while !self.ended {
            let Some(lines) = &mut self.lines else {
                tokio::time::sleep(self.retry_in).await;
                match self.client.lines(&self.path).await {
                    Ok(lines) => self.lines = Some(Box::pin(lines)),
                    Err(error) => return Some(self.failed(error)),
                }
                continue;
            };
            return Some(match lines.next().await {
                Some(Ok(item)) => {
                    self.backoff.reset();
                    Followed::Item(item)
                }
                Some(Err(error)) => self.failed(error),
                None => self.failed(AdminError::Broken("the daemon ended the stream".into())),
            });
        }
        None
    }

    fn failed(&mut self, why: AdminError) -> Followed<R> {
        self.lines = None;
        if why.retry() {
            self.retry_in = self.backoff.next_pause();
            return Followed::Lost { why, retry_in: self.retry_in };
        }
        self.ended = true;
        Followed::Ended(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Json;
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use axum::routing::get;
    use serde_json::json;
    use std::path::Path;
    use tokio_util::task::AbortOnDropHandle;

    fn serve(path: &Path, line: &'static str) -> AbortOnDropHandle<()> {
        let _ = std::fs::remove_file(path);
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let routes = axum::Router::new().route(
            "/v1/top",
            get(async move || match line {
                "gone" => {
                    let error = json!({"code": "unknown_stream", "detail": "no stream 9"});
                    (StatusCode::NOT_FOUND, Json(error)).into_response()
                }
                line => line.into_response(),
            }),
        );
        AbortOnDropHandle::new(tokio::spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        }))
    }

    #[tokio::test]
    async fn it_reconnects_and_stops_when_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let client = AdminClient::new(path.clone());
        let first = follow::<u64>(client.clone(), "/v1/top".into()).await;
        assert!(matches!(first.map(|_| ()), Err(AdminError::NotRunning { .. })));

        let server = serve(&path, "1\n");
        let mut items = Box::pin(follow::<u64>(client, "/v1/top".into()).await.unwrap());
        assert!(matches!(items.next().await, Some(Followed::Item(1))));
        assert!(matches!(items.next().await, Some(Followed::Lost { .. })));
        drop(server);
        std::fs::remove_file(&path).unwrap();
        let Some(Followed::Lost { why, retry_in }) = items.next().await else { panic!() };
        assert!(matches!(why, AdminError::NotRunning { .. }), "{why:?}");
        assert_eq!(retry_in, BOUNDS.first * 2);

        let _server = serve(&path, "2\n");
        assert!(matches!(items.next().await, Some(Followed::Item(2))));
        assert!(matches!(items.next().await, Some(Followed::Lost { .. })));
        let _server = serve(&path, "gone");
        assert!(matches!(items.next().await, Some(Followed::Ended(AdminError::Refused(_)))));
        assert!(items.next().await.is_none());
    }
}
