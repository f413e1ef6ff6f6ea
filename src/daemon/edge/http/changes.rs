//! Requests that change something run to their end, also if their client leaves.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio_util::task::TaskTracker;

use super::{ConnectionSlot, HttpError};
use crate::daemon::base::supervise::early_end;
use crate::protocol::ErrorCode;

/// Answers a request in a task of its own, unless it only reads. hyper drops the handler of a
/// client that has closed its end: a change of many comments would stop half-way. The task keeps
/// the place of its connection, which bounds how many there are.
pub(crate) async fn finish_changes(
    State(changes): State<TaskTracker>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let slot = request.extensions().get::<ConnectionSlot>().cloned();
    let change = changes.spawn(async move {
        let answer = next.run(request).await;
        drop(slot);
        answer
    });
    change.await.unwrap_or_else(|error| {
        tracing::error!("the task of a request {}", early_end(&error));
        HttpError::new(ErrorCode::Internal, "the daemon's log says more").into_response()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;
    use tower::ServiceExt as _;

    use super::*;

    /// Returns how many of the three steps of a request are made whose client leaves at the first.
    async fn steps_without_client(method: Method) -> usize {
        let start = Arc::new(Semaphore::new(1));
        let done = Arc::new(Semaphore::new(0));
        let shared = (start.clone(), done.clone());
        let steps = move || {
            let (start, done) = shared.clone();
            async move {
                for _ in 0..3 {
                    start.acquire().await.unwrap().forget();
                    done.add_permits(1);
                }
            }
        };
        let changes = TaskTracker::new();
        let router = Router::new()
            .route("/", get(steps.clone()).post(steps))
            .layer(from_fn_with_state(changes.clone(), finish_changes));
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        let mut answer = Box::pin(router.oneshot(request));
        while done.available_permits() == 0 {
            assert!(answer.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(answer);
        start.add_permits(2);
        changes.close();
        changes.wait().await;
        done.available_permits()
    }

    #[tokio::test]
    async fn a_change_is_finished_without_its_client() {
        assert_eq!(steps_without_client(Method::POST).await, 3);
        assert_eq!(steps_without_client(Method::GET).await, 1, "nobody reads the answer");
    }

    #[tokio::test]
    async fn a_change_that_panics_is_answered() {
        async fn handler() -> &'static str {
            panic!("as the test wants");
        }
        let router = Router::new()
            .route("/", axum::routing::post(handler))
            .layer(from_fn_with_state(TaskTracker::new(), finish_changes));
        let request = Request::builder().method("POST").uri("/").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), 500);
    }
}
