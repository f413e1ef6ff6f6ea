//! The viewer page, built into the binary.

use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse as _, Response};

const HTML: &str = include_str!("../../../../web/index.html");
const SCRIPT: &str = include_str!("../../../../web/viewer.js");
const STYLE: &str = include_str!("../../../../web/viewer.css");

/// Allows nothing from other hosts and nothing inline, so that a comment that escaped the page's
/// own precautions could neither run nor load anything. `connect-src 'self'` covers the WebSocket
/// of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn index() -> Response {
    asset("text/html; charset=utf-8", HTML)
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A stale page could speak another version of the protocol than the daemon.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
