//! Tests of the keys of an issuer, which a server of the test publishes.

use std::sync::atomic::AtomicU64;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::daemon::base::clock::Clock;
use crate::daemon::stages::auth::fixtures::issuer::{
    Answer, DISCOVERY, KEYS, TestIssuer, response,
};
use crate::daemon::stages::auth::fixtures::{self, NOW_MS, NOW_S, SECRET, StoppedClock, jwk};
use crate::daemon::stages::auth::{AuthError, Verifier};
use crate::protocol::ErrorCode;

/// The bound of every wait. Only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(20);
const QUICK: Limits = Limits { time: Duration::from_millis(500), min_gap: Duration::ZERO };

/// The clock of the readings.
#[derive(Debug)]
struct ReadingClock(AtomicU64);

impl Clock for ReadingClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A verifier whose task runs.
struct Bench {
    verifier: Verifier,
    clock: Arc<ReadingClock>,
    /// The numbers of the keys whose connections were to be closed.
    closed: Arc<Mutex<Vec<u32>>>,
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
    start_at(NOW_MS, data_dir, config, limits)
}

fn start_at(now_ms: u64, data_dir: TempDir, config: &AuthConfig, limits: Limits) -> Bench {
    let problems = Problems::default();
    let clock = Arc::new(ReadingClock(AtomicU64::new(now_ms)));
    let ends =
        IssuerKeys::load_with(config, data_dir.path(), problems.clone(), clock.clone(), limits);
    let IssuerKeysEnds { keys, task } = ends.unwrap().unwrap();
    let verifier = Verifier::new(config, Some(SECRET), Arc::new(StoppedClock)).unwrap();
    let verifier = verifier.with_issuer_keys(keys);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let closed = Arc::<Mutex<Vec<u32>>>::default();
    let told = closed.clone();
    let close = move |keys: Arc<[IssuerKeyId]>| -> BoxFuture<'static, u64> {
        told.lock().extend(keys.iter().map(|key| key.0.get()));
        Box::pin(std::future::ready(1))
    };
    tokio::spawn(async move { task.run(&close, stopped).await });
    Bench { verifier, clock, closed, problems, data_dir, stop }
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
async fn a_withdrawn_key_ends_what_it_admitted() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    config.jwks_refresh = Duration::from_millis(20);
    let bench = start(&config, QUICK);
    let old = token("old");
    assert_eq!(bench.check(&old).await, Ok(()));
    let key = bench.verifier.verify(&old).unwrap().issuer_key.unwrap();
    issuer.publish(&json!([jwk::rsa("old"), jwk::other_rsa("new")]));
    let new = rotated("new");
    bench.eventually("rotated", |bench| bench.verifier.verify(&new).is_ok()).await;
    assert!(!bench.verifier.is_withdrawn(key));
    issuer.answer(KEYS, Answer::Closed);
    bench.eventually("a problem", |bench| !bench.problem().is_empty()).await;
    assert_eq!(*bench.closed.lock(), [0; 0], "an outage withdraws nothing");
    issuer.publish(&json!([jwk::other_rsa("new")]));
    bench.eventually("closed", |bench| *bench.closed.lock() == [1]).await;
    assert!(bench.verifier.is_withdrawn(key));
    let kept = bench.verifier.verify(&new).unwrap().issuer_key.unwrap();
    assert!(!bench.verifier.is_withdrawn(kept));
    let own = fixtures::sign("HS256", None, &claims());
    assert_eq!(bench.verifier.verify(&own).unwrap().issuer_key, None);
}

#[tokio::test]
async fn a_key_withdrawn_while_away_ends_at_the_start() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let config = config(issuer.url(KEYS));
    let bench = start(&config, QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    let name = "issuer-keys.json";
    let kept = bench.data_dir.path().join(name);
    bench.eventually("kept", |_| kept.exists()).await;
    let data_dir = tempfile::tempdir().unwrap();
    std::fs::copy(kept, data_dir.path().join(name)).unwrap();
    issuer.publish(&json!([jwk::other_rsa("new")]));
    let again = start_in(data_dir, &config, QUICK);
    again.eventually("closed", |bench| *bench.closed.lock() == [1]).await;
    assert_eq!(again.check(&token("old")).await, Err(ErrorCode::TokenSignature));
}

#[tokio::test]
async fn the_last_keys_are_used_while_the_issuer_is_away() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    let bench = start(&config, QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    issuer.answer(KEYS, Answer::Closed);
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

const DAY_MS: u64 = 24 * 3_600 * 1_000;

#[tokio::test]
async fn keys_end_if_the_issuer_is_away_too_long() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    config.jwks_refresh = Duration::from_millis(20);
    let bench = start(&config, QUICK);
    let old = token("old");
    assert_eq!(bench.check(&old).await, Ok(()));
    issuer.answer(KEYS, Answer::Closed);
    bench.eventually("a problem", |bench| bench.problem().contains("stay in use")).await;
    bench.clock.0.store(NOW_MS + DAY_MS, Ordering::SeqCst);
    assert_eq!(bench.check(&rotated("new")).await, Err(ErrorCode::IdentityUnavailable));
    assert_eq!(bench.check(&old).await, Ok(()), "a day old, and no older");
    bench.clock.0.store(NOW_MS + DAY_MS + 1, Ordering::SeqCst);
    bench.eventually("closed", |bench| *bench.closed.lock() == [1]).await;
    assert_eq!(bench.check(&old).await, Err(ErrorCode::IdentityUnavailable));
    bench.eventually("told", |bench| bench.problem().contains("`auth.jwks_max_age`")).await;
    let own = fixtures::sign("HS256", None, &claims());
    assert_eq!(bench.check(&own).await, Ok(()), "other keys work");
    issuer.publish(&json!([jwk::rsa("old")]));
    bench.eventually("solved", |bench| bench.problem().is_empty()).await;
    assert_eq!(bench.check(&old).await, Ok(()));
}

#[tokio::test]
async fn kept_keys_are_used_until_they_are_too_old() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    config.jwks_refresh = Duration::from_millis(20);
    let bench = start(&config, QUICK);
    let name = "issuer-keys.json";
    let kept = bench.data_dir.path().join(name);
    let is_kept = |at_ms: u64| {
        let text = std::fs::read_to_string(&kept).unwrap_or_default();
        text.contains(&format!("\"read_at\":{at_ms}"))
    };
    bench.eventually("kept", |_| is_kept(NOW_MS)).await;
    let read_ms = NOW_MS + DAY_MS / 2;
    bench.clock.0.store(read_ms, Ordering::SeqCst);
    bench.eventually("kept again, though the set is the same", |_| is_kept(read_ms)).await;
    issuer.answer(KEYS, Answer::Closed);
    for (now_ms, is_used) in [(0, true), (read_ms + DAY_MS, true), (read_ms + DAY_MS + 1, false)] {
        let data_dir = tempfile::tempdir().unwrap();
        std::fs::copy(&kept, data_dir.path().join(name)).unwrap();
        let again = start_at(now_ms, data_dir, &config, QUICK);
        assert_eq!(again.verifier.verify(&token("old")).is_ok(), is_used, "{now_ms}");
    }
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
        assert_eq!(outcome, Err(ErrorCode::IdentityUnavailable));
    }
    assert_eq!(bench.check(&rotated("old")).await, Err(ErrorCode::TokenSignature), "forged");
    assert_eq!(issuer.requests(), 1, "the one of the start");
}

#[tokio::test]
async fn a_new_key_is_for_now_refused_until_read() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let limits = Limits { min_gap: Duration::from_millis(500), ..QUICK };
    let bench = start(&config(issuer.url(KEYS)), limits);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    issuer.publish(&json!([jwk::rsa("old"), jwk::other_rsa("new")]));
    let new = rotated("new");
    let accepted = async {
        while let Err(code) = bench.check(&new).await {
            assert_eq!(code, ErrorCode::IdentityUnavailable);
            assert!(bench.check(&rotated("invented")).await.is_err(), "others ask, too");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, accepted).await.expect("the new key is read");
}

#[tokio::test]
async fn tokens_beyond_the_waiting_may_come_again() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let bench = start(&config(issuer.url(KEYS)), QUICK);
    assert_eq!(bench.check(&token("old")).await, Ok(()));
    let tokens: Vec<_> = (0..=MAX_WAITING).map(|n| rotated(&format!("kid-{n}"))).collect();
    let all = tokens.iter().map(|token| bench.check(token));
    let outcomes = futures_util::future::join_all(all).await;
    let [waited, beyond] = [ErrorCode::TokenSignature, ErrorCode::IdentityUnavailable]
        .map(|code| outcomes.iter().filter(|outcome| **outcome == Err(code)).count());
    assert_eq!((waited, beyond), (MAX_WAITING, 1));
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_for_good() {
    let issuer = TestIssuer::start(&json!([jwk::rsa("old")])).await;
    let mut config = config(issuer.url(KEYS));
    config.jwks_refresh = Duration::from_millis(20);
    let limits = Limits { min_gap: Duration::from_secs(60), ..QUICK };
    let bench = start(&config, limits);
    let old = token("old");
    assert_eq!(bench.check(&old).await, Ok(()));
    issuer.publish(&json!([jwk::other_rsa("new")]));
    bench.eventually("withdrawn", |bench| bench.verifier.verify(&old).is_err()).await;
    assert_eq!(bench.check(&old).await, Err(ErrorCode::TokenSignature));
    let other = bench.check(&token("other")).await;
    assert_eq!(other, Err(ErrorCode::IdentityUnavailable), "it may be a new one");
}

#[tokio::test]
async fn a_token_need_not_name_the_only_key() {
    let unnamed = fixtures::sign("RS256", None, &claims());
    let of_other = fixtures::sign_other_rsa(&claims());
    let issuer = TestIssuer::start(&json!([jwk::rsa("a"), jwk::p256("a")])).await;
    let bench = start(&config(issuer.url(KEYS)), QUICK);
    assert_eq!(bench.check(&unnamed).await, Ok(()), "the only one of its algorithm");
    assert_eq!(bench.check(&of_other).await, Err(ErrorCode::TokenSignature));
    issuer.publish(&json!([jwk::other_rsa("b")]));
    assert_eq!(bench.check(&of_other).await, Ok(()), "the change is seen at once");
    assert_eq!(bench.check(&unnamed).await, Err(ErrorCode::TokenSignature));
    issuer.publish(&json!([jwk::rsa("a"), jwk::other_rsa("b")]));
    assert_eq!(bench.check(&token("a")).await, Ok(()));
    for token in [&unnamed, &of_other] {
        assert_eq!(bench.check(token).await, Err(ErrorCode::TokenSignature), "one of two");
    }
}

#[tokio::test]
async fn a_set_without_names_rotates_at_once() {
    let nameless = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let issuer = TestIssuer::start(&json!([nameless(jwk::rsa(""))])).await;
    let limits = Limits { min_gap: Duration::from_millis(300), ..QUICK };
    let bench = start(&config(issuer.url(KEYS)), limits);
    assert_eq!(bench.check(&fixtures::sign("RS256", None, &claims())).await, Ok(()));
    issuer.publish(&json!([nameless(jwk::other_rsa(""))]));
    let new = fixtures::sign_other_rsa(&claims());
    let accepted = async {
        while let Err(code) = bench.check(&new).await {
            assert_eq!(code, ErrorCode::IdentityUnavailable);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, accepted).await.expect("the new key is read");
    assert!(issuer.requests() <= 3, "{}", issuer.requests());
}

#[tokio::test]
async fn trying_an_issuer_tells_its_keys() {
    assert!(try_issuer(&AuthConfig::default()).await.is_none());
    let issuer = TestIssuer::start(&json!([jwk::rsa("a"), jwk::p256("b")])).await;
    let told = try_issuer(&config(issuer.url(KEYS))).await.unwrap().unwrap();
    assert!(told.ends_with("with 2 keys"), "{told}");
}
