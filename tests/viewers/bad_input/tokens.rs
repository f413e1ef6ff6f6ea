//! Tokens, over WebSocket and over HTTP.

use base64::Engine as _;

use super::JSON;
use crate::support::socket::RawSocket;
use crate::support::{Daemon, http};

fn unsigned_token() -> String {
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = r#"{"sub":"1","name":"x","role":"admin","exp":99999999999}"#;
    format!("{}.{}.", part(r#"{"alg":"none","typ":"JWT"}"#), part(claims))
}

pub(super) async fn tokens(daemon: &Daemon) -> usize {
    let valid = daemon.token(5, "eve");
    let mut other_secret = valid[..valid.len() - 4].to_owned();
    other_secret.push_str("AAAA");
    let cases = [
        ("not a token", "nonsense".to_owned(), "token_malformed", 4501),
        ("alg none", unsigned_token(), "token_algorithm", 4501),
        ("wrong signature", other_secret, "token_signature", 4501),
        (
            "expired",
            daemon.token_with(5, "eve", |claims| claims.exp = 1_000),
            "token_expired",
            4502,
        ),
        (
            "no user",
            daemon.token_with(5, "eve", |claims| claims.sub = String::new()),
            "token_claims",
            4501,
        ),
        ("no name", daemon.token_with(5, "", |_| {}), "token_claims", 4501),
        (
            "for another audience",
            daemon.token_with(5, "eve", |claims| claims.aud = Some("else".into())),
            "token_audience",
            4501,
        ),
    ];
    let count = cases.len();
    for (name, token, code, close) in cases {
        let viewer = RawSocket::open(daemon, &format!("?token={token}"), JSON).await;
        let answer = viewer.answer_to(&[], true).await;
        assert_eq!(answer, (code.to_owned(), Some(close)), "{name} over WebSocket");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let body = Some(r#"{"message":"x"}"#);
        let (status, answer) =
            http(daemon, "POST", "/api/streams/1/comments", &headers, body).await;
        assert_eq!((status, answer["code"].as_str()), (401, Some(code)), "{name} over HTTP");
    }
    count * 2
}
