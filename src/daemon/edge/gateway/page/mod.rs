//! The pages of viewers, broadcasting programs and moderators, built into the binary.
//!
//! Their addresses are relative, so that they may be below any path of a site. Nothing in them
//! depends on the stream: a page reads its id from the address.

pub(crate) mod assets;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use axum::extract::{Path, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use self::assets::{ASSETS, Asset};
use super::api::parse_id;
use crate::daemon::edge::http::{Answer, HttpError, has_current};
use crate::protocol::{ErrorCode, StreamId};

const HTML: &str = "text/html; charset=utf-8";

const VIEWER: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/page/viewer.html"));
const OVERLAY: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/page/overlay.html"));
const DESK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/page/moderate.html"));

static VIEWER_OF_STREAM: LazyLock<String> = LazyLock::new(|| one_level_down(VIEWER));
static OVERLAY_OF_STREAM: LazyLock<String> = LazyLock::new(|| one_level_down(OVERLAY));
static DESK_OF_STREAM: LazyLock<String> = LazyLock::new(|| one_level_down(DESK));

/// Allows nothing from other hosts and nothing inline, and no text to become markup, so that a
/// comment that escaped the page's own precautions could neither run nor load anything.
/// `connect-src 'self'` covers the WebSocket of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      trusted-types 'none'; require-trusted-types-for 'script'";

/// One tag for all files: it differs between builds that differ in any of them.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    for text in [VIEWER, OVERLAY, DESK].into_iter().chain(ASSETS.iter().map(|asset| asset.text)) {
        text.hash(&mut hasher);
    }
    format!("\"{:016x}\"", hasher.finish())
});

/// The page of a viewer at the root of the site. It shows the stream of `?stream=`, or stream 1.
pub(super) async fn index(headers: HeaderMap) -> Response {
    answer(&headers, HTML, VIEWER)
}

/// The page for broadcasting programs.
pub(super) async fn overlay(Path(stream_id): Path<String>, headers: HeaderMap) -> Answer {
    page_of_stream(&stream_id, &headers, &OVERLAY_OF_STREAM)
}

/// The desk of moderators. It is no secret: what it does needs a token.
pub(super) async fn desk(Path(stream_id): Path<String>, headers: HeaderMap) -> Answer {
    page_of_stream(&stream_id, &headers, &DESK_OF_STREAM)
}

/// Answers people with the page of a stream, at a path where programs open a WebSocket.
pub(super) async fn unless_upgrade(
    Path(stream_id): Path<String>,
    request: Request,
    next: Next,
) -> Answer {
    if request.headers().contains_key(UPGRADE) {
        return Ok(next.run(request).await);
    }
    page_of_stream(&stream_id, request.headers(), &VIEWER_OF_STREAM)
}

/// A file of the pages.
pub(super) async fn page_file(Path(file): Path<String>, headers: HeaderMap) -> Answer {
    asset(&headers, &format!("page/{file}"))
}

/// A file of the client library.
pub(super) async fn client_file(Path(file): Path<String>, headers: HeaderMap) -> Answer {
    asset(&headers, &format!("client/{file}"))
}

fn page_of_stream(stream_id: &str, headers: &HeaderMap, html: &'static str) -> Answer {
    parse_id::<StreamId>(stream_id)?;
    Ok(answer(headers, HTML, html))
}

fn asset(headers: &HeaderMap, path: &str) -> Answer {
    let found = Asset::at(path)
        .ok_or_else(|| HttpError::new(ErrorCode::NotFound, "the pages have no such file"))?;
    Ok(answer(headers, found.content_type(), found.text))
}

/// Returns a page whose files are beside the folder that its address is in.
fn one_level_down(html: &str) -> String {
    html.replace("\"page/", "\"../page/").replace("\"client/", "\"../client/")
}

fn answer(request: &HeaderMap, content_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A stale page could speak another version of the protocol than the daemon.
        (CACHE_CONTROL, "no-cache"),
        (ETAG, TAG.as_str()),
    ];
    if has_current(request, &TAG) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, text).into_response()
}
