//! Tests of the keys of an issuer, which a server of the test publishes.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::daemon::stages::auth::fixtures::issuer::{
    Answer, DISCOVERY, KEYS, TestIssuer, response,
};
use crate::daemon::stages::auth::fixtures::{self, NOW_S, SECRET, StoppedClock, jwk};
use crate::daemon::stages::auth::{AuthError, Verifier};
use crate::protocol::ErrorCode;

/// The bound of every wait. Only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(20);
const QUICK: Limits =
    Limits { time: Duration::from_millis(500), min_gap: Duration::from_millis(1) };

/// A verifier whose task runs.
struct Bench {
    verifier: Verifier,
    problems: Problems,
    data_dir: TempDir,
    stop: CancellationToken,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn config(url: String) -> AuthConfig {
    let jwks_refresh = Duration::from_secs(3_600);
    AuthConfig { jwks_url: url, jwks_refresh, ..AuthConfig::default() }
}

fn start_in(data_dir: TempDir, config: &AuthConfig, limits: Limits) -> Bench {
    let problems = Problems::default();
    let clock = Arc::new(StoppedClock);
    let ends =
        IssuerKeys::load_with(config, data_dir.path(), problems.clone(), clock.clone(), limits);
    let IssuerKeysEnds { keys, task } = ends.unwrap().unwrap();
    let verifier = Verifier::new(config, Some(SECRET), clock).unwrap().with_issuer_keys(keys);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move { task.run(stopped).await });
    Bench { verifier, problems, data_dir, stop }
}

fn start(config: &AuthConfig, limits: Limits) -> Bench {
    start_in(tempfile::tempdir().unwrap(), config, limits)
}

fn claims() -> Value {
    json!({"sub": "auth0|1", "name": "ann", "exp": NOW_S + 60})
}

fn token(kid: &str) -> String {
    fixtures::sign("RS256", Some(kid), &claims())
}

/// A token of the key to which the issuer rotates.
fn rotated(kid: &str) -> String {
    fixtures::sign_other_rsa_as(Some(kid), &claims())
}

impl Bench {
    async fn check(&self, token: &str) -> Result<(), ErrorCode> {
        let verified = self.verifier.verify_with_current_keys(token).await;
        verified.map(drop).map_err(|error| error.code())
    }

    /// The text of the problem; empty without one.
    fn problem(&self) -> String {
        self.problems.list().first().map(|problem| problem.text.clone()).unwrap_or_default()
    }

    async fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

#[tokio::test]
async fn a_rotated_key_is_accepted_at_once() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let bench = start(&config(issuer.url(KEYS)), QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    issuer.publish(&json!([jwk::other_rsa("new"), jwk::rsa("old")]));
    tokio::time::sleep(QUICK.min_gap * 2).await;
    assert_eq!(bench.check(&rotated("new")).await, Ok(()));
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    assert_eq!(bench.check(&rotated("old")).await, Err(ErrorCode::TokenSignature));
}

#[tokio::test]
async fn a_withdrawn_key_stops_after_the_refresh() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old"), jwk::other_rsa("new")])).await;
    let mut config = config(issuer.url(KEYS));
    config.jwks_refresh = Duration::from_millis(20);
    let bench = start(&config, QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    issuer.publish(&json!([jwk::other_rsa("new")]));
    let old = token("old");
    bench.eventually("withdrawn", |bench| bench.verifier.verify(&old).is_err()).await;
    assert_eq!(bench.verifier.verify(&old), Err(AuthError::Signature));
    assert_eq!(bench.check(&rotated("new")).await, Ok(()));
}

#[tokio::test]
async fn the_last_keys_are_used_while_the_issuer_is_away() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    let bench = start(&config, QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    issuer.answer(KEYS, Answer::Closed);
    tokio::time::sleep(QUICK.min_gap * 2).await;
    assert_eq!(bench.check(&rotated("new")).await, Err(ErrorCode::IdentityUnavailable));
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    assert!(bench.problem().contains("stay in use"), "{}", bench.problem());
    let data_dir = tempfile::tempdir().unwrap();
    let kept = bench.data_dir.path().join("issuer-keys.json");
    bench.eventually("kept", |_| kept.exists()).await;
    std::fs::copy(kept, data_dir.path().join("issuer-keys.json")).unwrap();
    config.jwks_refresh = Duration::from_millis(20);
    let again = start_in(data_dir, &config, QUICK);
    assert_eq!(again.check(&token("old")).await, Ok(()), "also after a restart");
    again.eventually("a problem", |bench| bench.problem().contains("stay in use")).await;
    issuer.publish(&json!([jwk::other_rsa("new")]));
    again.eventually("solved", |bench| bench.problem().is_empty()).await;
    assert_eq!(again.check(&rotated("new")).await, Ok(()));
}

#[tokio::test]
async fn without_any_keys_the_refusal_is_for_now() {
    let issuer = TestIssuer::start(&json!([])).await;
    issuer.answer(KEYS, Answer::Closed);
    let bench = start(&config(issuer.url(KEYS)), QUICK);
    assert_eq!(bench.check(&token("old")).await, Err(ErrorCode::IdentityUnavailable));
    let own = fixtures::sign("HS256", None, &claims());
    assert_eq!(bench.check(&own).await, Ok(()), "other keys work");
    assert!(bench.problem().contains("refused for now"), "{}", bench.problem());
}

#[tokio::test]
async fn bad_answers_change_nothing_and_are_told() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    config.jwks_refresh = Duration::from_millis(10);
    let bench = start(&config, QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    let set = |keys: Value| Answer::Json(json!({ "keys": keys }).to_string());
    let mut private = jwk::rsa("x");
    private["d"] = json!("AQAB");
    let mut none = jwk::rsa("x");
    none["alg"] = json!("none");
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/keys\r\n\
                 Content-Length: 0\r\n\r\n";
    let huge = json!({"keys": [jwk::rsa("new")], "more": "x".repeat(300 * 1024)}).to_string();
    for (answer, told) in [
        (Answer::Raw(moved.to_owned()), "status 302"),
        (Answer::Raw(response("500 Oops", "text/plain", "")), "status 500"),
        (Answer::Raw(response("200 OK", "text/html", "<html>")), "application/json"),
        (Answer::Raw("not HTTP at all\r\n\r\n".to_owned()), "broke off"),
        (Answer::Json("<html>".to_owned()), "not JSON"),
        (Answer::Json("{}".to_owned()), "no key set"),
        (Answer::Json(huge), "more than 256 KiB"),
        (set(json!([])), "no key for"),
        (set(json!([private])), "private key"),
        (set(json!([none])), "`none`"),
        (set(json!([{"kty": "oct", "k": "c2VjcmV0"}])), "symmetric"),
        (set(json!([jwk::rsa("x"), jwk::other_rsa("x")])), "same `kid`"),
        (Answer::Never, "no answer within"),
        (Answer::Closed, "the key set: "),
    ] {
        issuer.answer(KEYS, answer);
        bench.eventually(told, |bench| bench.problem().contains(told)).await;
        assert!(bench.verifier.verify(&token("old")).is_ok(), "{told}");
        assert!(bench.verifier.verify(&rotated("x")).is_err(), "{told}");
        issuer.publish(&json!([jwk::rsa("old")]));
        bench.eventually("solved", |bench| bench.problem().is_empty()).await;
    }
}

#[tokio::test]
async fn an_issuer_is_found_by_its_discovery_document() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let oidc_issuer = issuer.name();
    let config = AuthConfig { oidc_issuer, ..config(String::new()) };
    let bench = start(&config, QUICK);
    assert_eq!(bench.check(&token("old")).await, Err(ErrorCode::TokenIssuer), "without `iss`");
    let of = |name: &str| {
        let mut claims = claims();
        claims["iss"] = json!(name);
        fixtures::sign("RS256", Some("old"), &claims)
    };
    assert_eq!(bench.check(&of(&issuer.name())).await, Ok(()));
    let other = bench.check(&of("http://other.example")).await;
    assert_eq!(other, Err(ErrorCode::TokenIssuer));
}

#[tokio::test]
async fn a_document_of_another_issuer_is_refused() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let name = issuer.name();
    for (document, told) in [
        (json!({"issuer": "https://evil.example", "jwks_uri": issuer.url(KEYS)}), "another issuer"),
        (json!({"issuer": format!("{name}/"), "jwks_uri": issuer.url(KEYS)}), "another issuer"),
        (json!({"issuer": name, "jwks_uri": "http://192.0.2.1/keys"}), "must begin with https"),
        (json!({"issuer": name, "jwks_uri": "file:///etc/keys"}), "`jwks_uri`"),
        (json!({"issuer": name}), "`jwks_uri`"),
        (json!([]), "is not JSON with"),
    ] {
        issuer.answer(DISCOVERY, Answer::Json(document.to_string()));
        let config = AuthConfig { oidc_issuer: name.clone(), ..config(String::new()) };
        let bench = start(&config, QUICK);
        bench.eventually(told, |bench| bench.problem().contains(told)).await;
        let mut claims = claims();
        claims["iss"] = json!(name);
        let token = fixtures::sign("RS256", Some("old"), &claims);
        assert!(bench.verifier.verify(&token).is_err(), "{document}");
        let tried = try_issuer(&config).await.unwrap();
        assert!(tried.unwrap_err().contains(told), "{document}");
    }
}

#[tokio::test]
async fn invented_keys_cause_few_readings() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let limits = Limits { min_gap: Duration::from_secs(60), ..QUICK };
    let bench = start(&config(issuer.url(KEYS)), limits);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    let tokens: Vec<_> = (0..100).map(|n| rotated(&format!("kid-{n}"))).collect();
    let all = tokens.iter().map(|token| bench.check(token));
    for outcome in futures_util::future::join_all(all).await {
        assert_eq!(outcome, Err(ErrorCode::TokenSignature));
    }
    assert_eq!(issuer.requests(), 1, "the one of the start");
}

#[tokio::test]
async fn trying_an_issuer_tells_its_keys() {
    assert!(try_issuer(&AuthConfig::default()).await.is_none());
    let issuer = TestIssuer::start(&json!([jwk::rsa("a"), jwk::p256("b")])).await;
    let told = try_issuer(&config(issuer.url(KEYS))).await.unwrap().unwrap();
    assert!(told.ends_with("with 2 keys"), "{told}");
}
