//! `GET /openapi.json`: the document.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use axum::Extension;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::json;

use super::document::Document;
use super::operation::Operation;
use super::tag::Tag;
use crate::daemon::edge::http::has_current;

/// The document of a node changes only with its version and settings, thus when it restarts.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The finished document.
#[derive(Debug)]
pub(crate) struct ServedDocument {
    json: Bytes,
    tag: String,
}

#[cfg(test)]
impl ServedDocument {
    pub(super) fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.json).expect("it was written as JSON")
    }
}

impl From<Document> for ServedDocument {
    fn from(document: Document) -> Self {
        let json = Bytes::from(document.finish().to_string());
        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        Self { json, tag: format!("\"{:016x}\"", hasher.finish()) }
    }
}

pub(crate) async fn show(
    Extension(document): Extension<Arc<ServedDocument>>,
    headers: HeaderMap,
) -> Response {
    let tag = HeaderValue::from_str(&document.tag);
    let mut response = if has_current(&headers, &document.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], document.json.clone()).into_response()
    };
    let answered = response.headers_mut();
    answered.insert(CACHE_CONTROL, CACHE);
    if let Ok(tag) = tag {
        answered.insert(ETAG, tag);
    }
    response
}

pub(crate) fn describe(operation: &mut Operation<'_>) {
    operation
        .named(Tag::Operation, "get_openapi", "Returns this document")
        .answer_as(200, "application/json", json!({ "type": "object" }), "The document.")
        .revalidated_by_etag();
}
