//! The client's half of the opening handshake (RFC 6455 §4.2.1), checked.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, Method, Request, Version};

use crate::daemon::base::config::DeflateMode;
use crate::daemon::edge::http::HttpError;
use crate::net::websocket::Deflate;
use crate::net::websocket::extensions::{AcceptedOffer, accept_offer};
use crate::net::websocket::handshake::{accept_key, is_key};
use crate::protocol::ErrorCode;
use crate::protocol::message::{Encoding, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK};

/// A handshake that was accepted.
#[derive(Debug)]
pub(super) struct Handshake {
    /// `Sec-WebSocket-Accept`.
    pub(super) accept: String,
    pub(super) encoding: Encoding,
    /// The client named subprotocols and must be told which one it got.
    pub(super) names_subprotocol: bool,
    /// permessage-deflate, if it was offered in a form that can be kept.
    pub(super) deflate: Option<AcceptedOffer>,
}

impl Handshake {
    /// # Errors
    /// `bad_handshake`, with what is missing.
    pub(super) fn check(request: &Request<Body>, mode: DeflateMode) -> Result<Self, HttpError> {
        let headers = request.headers();
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return Err(bad("this path takes a WebSocket handshake: GET over HTTP/1.1"));
        }
        if !names(headers, &UPGRADE, "websocket") || !names(headers, &CONNECTION, "upgrade") {
            let text = "this path takes a WebSocket handshake: `Connection: Upgrade` and \
                        `Upgrade: websocket` are missing";
            return Err(bad(text));
        }
        if single(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
            let version = HeaderValue::from_static("13");
            return Err(bad("`Sec-WebSocket-Version` must be 13")
                .with_header("sec-websocket-version", version));
        }
        if has_body(headers) {
            return Err(bad("a WebSocket handshake has no body"));
        }
        let (encoding, names_subprotocol) = choose_encoding(headers)?;
        let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).into_iter();
        let offers = offers.map(|value| value.to_str().ok());
        let deflate = accept_offer(offers, best_deflate(mode))
            .map_err(|malformed| bad(&malformed.to_string()))?;
        Ok(Self { accept: accept(headers)?, encoding, names_subprotocol, deflate })
    }
}

fn best_deflate(mode: DeflateMode) -> Deflate {
    match mode {
        DeflateMode::Off => Deflate::Off,
        DeflateMode::Single => Deflate::Single,
        DeflateMode::Shared => Deflate::Shared,
    }
}

fn bad(text: &str) -> HttpError {
    HttpError::new(ErrorCode::BadHandshake, text)
        .with_header("upgrade", HeaderValue::from_static("websocket"))
}

fn accept(headers: &HeaderMap) -> Result<String, HttpError> {
    let key = single(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| is_key(key))
        .ok_or_else(|| bad("`Sec-WebSocket-Key` must be 16 bytes in base64, once"))?;
    Ok(accept_key(key))
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// The first subprotocol of the client's list that is spoken here; JSON for a client that names
/// none.
fn choose_encoding(headers: &HeaderMap) -> Result<(Encoding, bool), HttpError> {
    let mut named = elements(headers, &SEC_WEBSOCKET_PROTOCOL).peekable();
    if named.peek().is_none() {
        return Ok((Encoding::Json, false));
    }
    let known = [Encoding::Json, Encoding::Msgpack];
    named
        .find_map(|name| known.into_iter().find(|encoding| encoding.subprotocol() == name))
        .map(|encoding| (encoding, true))
        .ok_or_else(|| {
            let text = format!(
                "none of the subprotocols is spoken here: expected {SUBPROTOCOL_JSON} or \
                 {SUBPROTOCOL_MSGPACK}"
            );
            bad(&text)
        })
}

/// The elements of a comma-separated header that may come in several lines.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

fn names(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(wanted))
}

/// The value of a header that must come exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// The usual handshake, one header replaced (or removed, by an empty value) or added.
    fn check(change: (&str, &str)) -> Result<Handshake, HttpError> {
        let mut request = Request::get("/ws/1");
        for (name, value) in GOOD.into_iter().filter(|(name, _)| *name != change.0) {
            request = request.header(name, value);
        }
        if !change.1.is_empty() {
            request = request.header(change.0, change.1);
        }
        Handshake::check(&request.body(Body::empty()).unwrap(), DeflateMode::Shared)
    }

    #[test]
    fn the_handshake_of_the_rfc_is_taken() {
        let handshake = check(("x-other", "1")).unwrap();
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(handshake.encoding, Encoding::Json);
        assert!(!handshake.names_subprotocol);
        assert_eq!(handshake.deflate, None);
    }

    #[test]
    fn a_broken_handshake_is_answered_426() {
        for (change, expected) in [
            (("connection", ""), "Connection"),
            (("connection", "close"), "Connection"),
            (("upgrade", ""), "Upgrade"),
            (("upgrade", "h2c"), "Upgrade"),
            (("sec-websocket-version", ""), "13"),
            (("sec-websocket-version", "8"), "13"),
            (("sec-websocket-key", ""), "16 bytes"),
            (("sec-websocket-key", "dG9vIHNob3J0"), "16 bytes"),
            (("sec-websocket-key", "not base64 at all!!!!!!!"), "16 bytes"),
            (("sec-websocket-protocol", "lc.v9.json, chat"), "lc.v1.json"),
            (("sec-websocket-extensions", "permessage-deflate; =1"), "Extensions"),
            (("content-length", "5"), "no body"),
            (("transfer-encoding", "chunked"), "no body"),
        ] {
            let error = check(change).unwrap_err();
            assert_eq!(error.body.code, ErrorCode::BadHandshake, "{change:?}");
            assert!(error.body.message.contains(expected), "{change:?}: {}", error.body.message);
            let response = error.into_response();
            assert_eq!(response.status(), 426, "{change:?}");
            assert_eq!(response.headers()["upgrade"], "websocket");
        }
        let post = Request::post("/ws/1").body(Body::empty()).unwrap();
        assert!(Handshake::check(&post, DeflateMode::Shared).is_err());
    }

    #[test]
    fn the_clients_first_known_subprotocol_is_chosen() {
        for (offered, expected) in [
            ("lc.v1.json", Encoding::Json),
            ("lc.v1.msgpack", Encoding::Msgpack),
            ("chat, lc.v1.msgpack, lc.v1.json", Encoding::Msgpack),
        ] {
            let handshake = check(("sec-websocket-protocol", offered)).unwrap();
            assert_eq!(handshake.encoding, expected, "{offered}");
            assert!(handshake.names_subprotocol);
        }
    }
}
