//! The check of tests that a handler answers with the error codes that the document has for it.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;

use super::served::ServedDocument;
use crate::protocol::error_code::ProblemDetails;

/// Answers as the handler does.
///
/// # Panics
/// The answer is an error whose code the document lacks for this method and path. Paths that are
/// not in the document are not checked, nor are methods that they do not have.
pub(crate) async fn refuse_undocumented(
    Extension(document): Extension<Arc<ServedDocument>>,
    request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = request.uri().path().to_owned();
    let method = request.method().as_str().to_ascii_lowercase();
    let (parts, body) = next.run(request).await.into_parts();
    let is_error = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes() == ProblemDetails::CONTENT_TYPE.as_bytes());
    let Some(matched) = matched.filter(|_| is_error) else {
        return Response::from_parts(parts, body);
    };
    // The acts of moderators have one route, and a path for each in the document.
    let last = path.rsplit('/').next().unwrap_or_default();
    let documented = document.value();
    let operation = &documented["paths"][matched.replace("{name}", last)][method.as_str()];
    let body = to_bytes(body, usize::MAX).await.expect("errors are held in memory");
    if let Ok(error) = serde_json::from_slice::<Value>(&body)
        && !operation.is_null()
    {
        let response = &operation["responses"][parts.status.as_str()];
        let schema = &response["content"][ProblemDetails::CONTENT_TYPE]["schema"];
        let codes = schema["allOf"][1]["properties"]["code"]["anyOf"][0]["enum"].as_array();
        let is_documented = codes.is_some_and(|codes| codes.contains(&error["code"]));
        assert!(is_documented, "{method} {matched} ({path}) answers the undocumented {error}");
    }
    Response::from_parts(parts, Body::from(body))
}
