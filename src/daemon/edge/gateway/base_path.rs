//! The paths of viewers below a base path of the site.
//!
//! Health and metrics stay where they are: a proxy that passes only the base path on does not
//! publish them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Redirect, Response};
use tower::ServiceExt as _;

use crate::daemon::edge::http::HttpError;
use crate::protocol::ErrorCode;

/// The paths of viewers, and where they begin. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Mounted {
    /// Begins with `/` and does not end with it.
    base_path: Arc<str>,
    viewers: Router,
}

impl Mounted {
    pub(super) fn new(base_path: &str, viewers: Router) -> Self {
        Self { base_path: base_path.into(), viewers }
    }

    /// Answers a request below the base path as if it had none.
    pub(super) async fn answer(self, mut request: Request) -> Response {
        let Some(rest) = request.uri().path().strip_prefix(&*self.base_path) else {
            return outside();
        };
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        if rest.is_empty() {
            // The files of a page are relative to its folder.
            return Redirect::permanent(&format!("{}/{query}", self.base_path)).into_response();
        }
        if !rest.starts_with('/') {
            return outside();
        }
        let Ok(path) = format!("{rest}{query}").parse() else { return outside() };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = Some(path);
        let Ok(uri) = Uri::from_parts(parts) else { return outside() };
        *request.uri_mut() = uri;
        match self.viewers.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn outside() -> Response {
    let text = "no such path: this site is below gateway.base_path";
    HttpError::new(ErrorCode::NotFound, text).into_response()
}
