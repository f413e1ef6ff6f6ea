mod service;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use self::service::{Behaviour, JSON, TestService, response};
use super::*;
use crate::daemon::base::config::RuleAction;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;
use crate::daemon::stages::moderation::Pipeline;
use crate::daemon::stages::moderation::samples::comment;
use crate::protocol::Role;

/// Long enough for a loaded machine, and short enough to be waited for.
const TIMEOUT: Duration = Duration::from_millis(500);
const FLAG: &str = r#"{"decision":"flag","reason":"rude","score":0.5}"#;

/// A stage in front of a service, and what operators see.
struct Bench {
    stage: HookStage,
    board: StatusBoard,
}

fn bench_with(url: String, change: impl FnOnce(&mut HookConfig)) -> Bench {
    let mut config = HookConfig { url, timeout: TIMEOUT, ..HookConfig::default() };
    change(&mut config);
    let board = StatusBoard::default();
    Bench { stage: HookStage::new(&config, &board).unwrap(), board }
}

fn bench(service: &TestService) -> Bench {
    bench_with(service.url(), |_| {})
}

impl Bench {
    async fn check(&self, text: &str) -> Finding {
        self.check_after(text, None, &Verdict::accept()).await
    }

    async fn check_after(&self, text: &str, role: Option<Role>, so_far: &Verdict) -> Finding {
        let comment = comment(1, 2, text);
        self.stage
            .check_after(
                &Subject { comment: &comment, role, lowered: 0.0, raised: 0.0, deadline: None },
                so_far,
            )
            .await
    }

    fn failures(&self) -> Vec<(String, u64)> {
        self.board.metrics().moderation_hook_failures.totals().into_iter().collect()
    }

    fn answers(&self) -> u64 {
        self.board.metrics().moderation_hook_answers.get()
    }

    fn breaker(&self) -> BreakerState {
        self.board.breakers()[0].state
    }

    /// Fails until the breaker opens.
    async fn fail(&self) {
        for _ in 0..3 {
            self.check("hi").await;
        }
        assert_eq!(self.breaker(), BreakerState::Open);
    }
}

#[tokio::test]
async fn decisions_of_the_service_are_findings() {
    let service = TestService::answering("").await;
    let bench = bench(&service);
    for (answer, decision, word, score) in [
        (FLAG, Decision::Flag, "rude", Some(0.5)),
        (r#"{"decision":"reject"}"#, Decision::Reject, reason::REVIEW_HOOK, None),
        (r#"{"decision":"accept","reason":"fine","score":0.1}"#, Decision::Accept, "", Some(0.1)),
        (r#"{"decision":"shadow_ban","reason":"bot"}"#, Decision::ShadowBan, "bot", None),
    ] {
        service.behave(Behaviour::Json(answer.to_owned()));
        let finding = bench.check("hi").await;
        assert_eq!((finding.decision, finding.reason, finding.score), (decision, word, score));
        let scores: Vec<_> = score.map(|score| ("hook", score)).into_iter().collect();
        assert_eq!(finding.scores, scores);
    }
    assert_eq!((bench.answers(), bench.failures()), (4, vec![]));
    assert_eq!(service.connections(), 1, "the connection is kept");
    let asked = &service.asked()[0];
    assert!(asked.head.starts_with("post /check?key=1 http/1.1"), "{}", asked.head);
    assert!(asked.head.contains(&format!("host: {}", service.address)));
    assert_eq!(asked.json()["message"], json!("hi"));
}

#[tokio::test]
async fn whatever_is_no_answer_is_a_failure() {
    let large = format!("{{\"decision\":\"flag\",\"x\":\"{}\"}}", "x".repeat(5 << 20));
    let redirect = response("302 Found", "Location: http://127.0.0.1:1/\r\n", FLAG);
    let cases = [
        (Behaviour::Json("not json".into()), "bad_answer"),
        (Behaviour::Json(r#"{"decision":"perhaps"}"#.into()), "bad_answer"),
        (Behaviour::Json(large), "too_large"),
        (Behaviour::Raw(redirect), "status"),
        (Behaviour::Raw(response("500 Oh", JSON, FLAG)), "status"),
        (Behaviour::Raw(response("204 No Content", JSON, "")), "status"),
        (Behaviour::Raw(response("200 OK", "Content-Type: text/html\r\n", FLAG)), "content_type"),
        (Behaviour::Raw(response("200 OK", "", FLAG)), "content_type"),
        (Behaviour::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), "broken"),
        (Behaviour::HangUp, "broken"),
        (Behaviour::Hang, "timeout"),
        (Behaviour::Drip(Duration::from_millis(50)), "timeout"),
    ];
    for (behaviour, expected) in cases {
        let service = TestService::start(behaviour.clone()).await;
        let bench = bench_with(service.url(), |config| config.on_failure = RuleAction::Flag);
        let began = Instant::now();
        let finding = bench.check("hi").await;
        let failed = Finding::new(Decision::Flag, reason::REVIEW_HOOK_FAILED);
        assert_eq!(finding, failed, "{expected}");
        assert_eq!(bench.failures(), [(expected.to_owned(), 1)], "{expected}");
        assert!(began.elapsed() < Duration::from_secs(2), "{expected}");
        let error = bench.stage.hook.breaker.status().last_error.unwrap();
        assert!(!error.contains("key=1") && !error.contains("perhaps"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_accepts_by_default() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let bench = bench_with(url, |_| {});
    assert_eq!(bench.check("hi").await, Finding::accept());
    assert_eq!(bench.failures(), [("connect".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_service_soon_costs_nothing() {
    let service = TestService::start(Behaviour::Hang).await;
    let bench = bench(&service);
    let began = Instant::now();
    bench.fail().await;
    let cost = began.elapsed();
    assert!((TIMEOUT * 3..TIMEOUT * 4).contains(&cost), "{cost:?}");
    for _ in 0..100 {
        assert_eq!(bench.check("hi").await, Finding::accept());
    }
    assert_eq!(began.elapsed(), cost, "it is not asked any more");
    let failures = [("breaker_open".to_owned(), 100), ("timeout".to_owned(), 3)];
    assert_eq!(bench.failures(), failures);
}

#[tokio::test]
async fn operators_are_told_until_the_service_is_back() {
    let service = TestService::start(Behaviour::Raw(response("503 No", "", ""))).await;
    let bench = bench_with(service.url(), |config| config.on_failure = RuleAction::Flag);
    bench.check("hi").await;
    assert_eq!(bench.board.problems().list(), [], "one failure is no outage");
    bench.fail().await;
    let [problem] = bench.board.problems().list().try_into().unwrap();
    assert_eq!((&*problem.code, &*problem.subject), ("review_hook_failing", "review hook"));
    let origin = format!("http://{} has given", service.address);
    for part in [&*origin, "since 20", "are flagged", "moderation.hook.on_failure"] {
        assert!(problem.text.contains(part), "{part}: {}", problem.text);
    }
    assert!(!problem.text.contains("key=1"), "{}", problem.text);
    let error = bench.board.breakers()[0].last_error.clone().unwrap();
    assert!(error.contains("503"), "{error}");

    service.behave(Behaviour::Json(FLAG.to_owned()));
    bench.stage.probe().await;
    assert_eq!(bench.breaker(), BreakerState::Open, "it is not asked all the time");
    tokio::time::pause();
    tokio::time::advance(TRIAL_INTERVAL).await;
    tokio::time::resume();
    bench.stage.probe().await;
    assert_eq!(bench.breaker(), BreakerState::Closed);
    assert_eq!(bench.board.problems().list(), []);
    let asked = service.asked().pop().unwrap().json();
    assert_eq!((&asked["dry_run"], &asked["stream_id"]), (&json!(true), &json!("0")));
    assert_eq!(bench.check("hi").await.reason, "rude");
    let number = service.asked().len();
    bench.stage.probe().await;
    assert_eq!(service.asked().len(), number, "a service that works is not probed");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_hide_failures() {
    let service = TestService::start(Behaviour::Hang).await;
    let bench = bench(&service);
    for _ in 0..3 {
        let given_up = timeout(Duration::from_millis(20), bench.check("hi")).await;
        assert!(given_up.is_err());
    }
    tokio::time::sleep(TIMEOUT * 2).await;
    assert_eq!(bench.breaker(), BreakerState::Open);
}

#[tokio::test]
async fn a_check_ends_by_the_deadline_of_its_comment() {
    for (on_failure, is_unchecked) in [(RuleAction::Accept, true), (RuleAction::Flag, false)] {
        let service = TestService::start(Behaviour::Hang).await;
        let bench = bench_with(service.url(), |config| {
            config.on_failure = on_failure;
            config.max_in_flight = 1;
            config.timeout = Duration::from_secs(5);
        });
        let Bench { stage, board } = bench;
        let pipeline = Pipeline::new(vec![Arc::new(stage)]);
        let comment = comment(1, 2, "hi");
        // The second one finds no place.
        for wait in ["answer", "place"] {
            let deadline = Some(Instant::now() + Duration::from_millis(100));
            let subject =
                Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline };
            let began = Instant::now();
            let verdict = pipeline.check(&subject).await;
            assert!(began.elapsed() < Duration::from_secs(2), "{wait}");
            assert_eq!(verdict.is_unchecked(), is_unchecked, "{wait}: the room decides");
            assert!(verdict.is_incomplete, "{wait}");
        }
        let failures = board.metrics().moderation_hook_failures.totals();
        assert_eq!(failures.len(), 0, "the service was given too little time: {failures:?}");
    }
}

#[tokio::test]
async fn a_service_that_fails_by_itself_is_no_late_check() {
    let service = TestService::start(Behaviour::Hang).await;
    let bench = bench_with(service.url(), |config| config.timeout = Duration::from_millis(50));
    let comment = comment(1, 2, "hi");
    let deadline = Some(Instant::now() + Duration::from_secs(30));
    let subject = Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline };
    assert_eq!(bench.stage.check(&subject).await, Finding::accept(), "on_failure decides");
    assert_eq!(bench.failures(), [("timeout".to_owned(), 1)]);
}

#[tokio::test]
async fn requests_and_connections_are_bounded() {
    let service = TestService::start(Behaviour::RejectAfterMs("bad")).await;
    let bench = bench_with(service.url(), |config| {
        config.max_in_flight = 4;
        config.timeout = Duration::from_secs(5);
    });
    let checks = (0..20).map(|_| bench.check("wait 20 ms"));
    let findings = futures_util::future::join_all(checks).await;
    assert!(findings.iter().all(|finding| *finding == Finding::accept()));
    assert_eq!((service.most_under_way(), service.connections()), (4, 4));
    assert_eq!((bench.answers(), bench.failures()), (20, vec![]));
}

#[tokio::test]
async fn without_a_free_place_the_breaker_stays_closed() {
    let service = TestService::start(Behaviour::RejectAfterMs("bad")).await;
    let bench = bench_with(service.url(), |config| {
        config.max_in_flight = 1;
        config.timeout = Duration::from_secs(1);
    });
    // The second one finds its place after 600 ms, the others none within a second.
    let checks = (0..5).map(|_| bench.check("wait 600 ms"));
    futures_util::future::join_all(checks).await;
    assert_eq!(bench.breaker(), BreakerState::Closed);
    let [(reason, number)] = bench.failures().try_into().unwrap();
    assert!(reason == "busy" && number >= 2, "{reason}: {number}");
}

#[tokio::test]
async fn a_connection_the_service_closed_is_no_failure() {
    let service = TestService::answering(FLAG).await;
    let bench = bench(&service);
    for number in 1..=3 {
        let closing = [JSON, "Connection: close\r\n"].concat();
        let answer = response("200 OK", &closing, FLAG);
        service.behave(Behaviour::Raw(answer));
        assert_eq!(bench.check("hi").await.reason, "rude");
        assert_eq!(service.connections(), number);
    }
    service.behave(Behaviour::Json(FLAG.to_owned()));
    bench.check("hi").await;
    // The next request finds the connection as it ends.
    service.behave(Behaviour::HangUp);
    bench.check("hi").await;
    assert_eq!(bench.failures(), [("broken".to_owned(), 1)], "tried twice, failed once");
}

#[tokio::test]
async fn only_the_chosen_comments_are_asked_about() {
    let service = TestService::answering(FLAG).await;
    let mut flagged = Verdict::accept();
    flagged.add("rules", Finding::new(Decision::Flag, "link"));
    let mut rejected = flagged.clone();
    rejected.add("model", Finding::new(Decision::Reject, "high_toxicity"));
    let scored = |score| {
        let mut verdict = Verdict::accept();
        let scores = vec![("spam", 0.1), ("toxicity", score)];
        verdict.add("model", Finding { scores, ..Finding::accept() });
        verdict
    };
    let clean = Verdict::accept();
    for (ask, verdict, role, expected) in [
        (HookAsk::All, &clean, Role::Viewer, true),
        (HookAsk::All, &clean, Role::Moderator, false),
        (HookAsk::All, &rejected, Role::Viewer, false),
        (HookAsk::Flagged, &clean, Role::Viewer, false),
        (HookAsk::Flagged, &scored(0.5), Role::Viewer, false),
        (HookAsk::Flagged, &flagged, Role::Viewer, true),
        (HookAsk::Borderline, &flagged, Role::Viewer, true),
        (HookAsk::Borderline, &clean, Role::Viewer, false),
        (HookAsk::Borderline, &scored(0.39), Role::Viewer, false),
        (HookAsk::Borderline, &scored(0.4), Role::Viewer, true),
        (HookAsk::Borderline, &scored(0.7), Role::Viewer, false),
    ] {
        let bench = bench_with(service.url(), |config| config.ask = ask);
        let before = service.asked().len();
        bench.check_after("hi", Some(role), verdict).await;
        let is_asked = service.asked().len() > before;
        assert_eq!(is_asked, expected, "{ask:?} {role:?} {verdict:?}");
    }
}

#[tokio::test]
async fn a_tried_text_is_a_dry_run_and_counts_nothing() {
    let service = TestService::answering(FLAG).await;
    let bench = bench(&service);
    let comment = comment(0, 0, "hi");
    let subject =
        Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline: None };
    let stage = bench.stage.explain(&subject).await;
    assert_eq!((stage.finding.decision, stage.finding.reason), (Decision::Flag, "rude"));
    assert!(stage.note.unwrap().contains("answered in"));
    assert_eq!(service.asked()[0].json()["dry_run"], json!(true));
    service.behave(Behaviour::Raw(response("500 Oh", "", "")));
    for _ in 0..5 {
        let note = bench.stage.explain(&subject).await.note.unwrap();
        assert!(note.contains("500") && note.contains("on_failure"), "{note}");
    }
    assert_eq!((bench.answers(), bench.failures()), (0, vec![]));
    assert_eq!(bench.breaker(), BreakerState::Closed);
    bench.fail().await;
    let number = service.asked().len();
    let note = bench.stage.explain(&subject).await.note.unwrap();
    assert!(note.contains("not asked while it fails"), "{note}");
    assert_eq!(service.asked().len(), number);
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn requests_carry_the_token_and_a_signature() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, DecodingKey, crypto};

    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    let key = directory.path().join("key");
    let secret = "k".repeat(32);
    write_private(&token, "hush-1\n");
    write_private(&key, &secret);
    let service = TestService::answering(FLAG).await;
    let bench = bench_with(service.url(), |config| {
        config.token_file = Some(token.clone());
        config.signing_key_file = Some(key.clone());
    });
    bench.check("hi").await;
    let asked = service.asked().pop().unwrap();
    assert!(asked.head.contains("authorization: bearer hush-1"), "{}", asked.head);
    assert!(!format!("{:?}", bench.stage).contains("hush"), "{:?}", bench.stage);
    let signed = crypto::sign(
        &asked.body,
        &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()),
        Algorithm::HS256,
    );
    let signed = signed.unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(&signed).unwrap().len(), 32);
    let key = DecodingKey::from_secret(secret.as_bytes());
    assert!(crypto::verify(&signed, &asked.body, &key, Algorithm::HS256).unwrap());
    let header = format!("lcd-signature: v1={}", signed.to_lowercase());
    assert!(asked.head.contains(&header), "{header} is not in {}", asked.head);

    write_private(&token, "hush-2\n");
    bench.stage.reload().unwrap().expect("files were read again");
    bench.check("hi").await;
    assert!(service.asked().pop().unwrap().head.contains("authorization: bearer hush-2"));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = bench.stage.reload().unwrap_err();
    assert!(error.contains("token_file") && error.contains("chmod 600"), "{error}");
}

/// Returns an acceptor with a certificate of its own for 127.0.0.1, and the certificate as PEM.
fn certified() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

#[tokio::test]
async fn https_is_spoken_to_trusted_services_only() {
    let directory = tempfile::tempdir().unwrap();
    let ours = directory.path().join("ours.pem");
    let others = directory.path().join("others.pem");
    let (tls, certificate) = certified();
    std::fs::write(&ours, certificate).unwrap();
    std::fs::write(&others, certified().1).unwrap();
    let service = TestService::start_secure(Behaviour::Json(FLAG.to_owned()), tls).await;
    let url = service.url().replace("http://", "https://");

    let trusting = bench_with(url.clone(), |config| config.tls_ca = Some(ours));
    for _ in 0..2 {
        assert_eq!(trusting.check("hi").await.reason, "rude");
    }
    assert_eq!((trusting.answers(), service.connections()), (2, 1), "the connection is kept");

    for (authorities, what) in [(Some(others), "another authority"), (None, "public ones")] {
        let wary = bench_with(url.clone(), |config| config.tls_ca = authorities);
        assert_eq!(wary.check("hi").await.decision, Decision::Accept, "{what}");
        assert_eq!(wary.failures(), [("connect".to_owned(), 1)], "{what}");
    }
    assert_eq!(service.asked().len(), 2, "comments are sent to a trusted service only");
}

#[tokio::test]
async fn a_check_says_whether_the_service_answers() {
    use crate::daemon::base::config::ModerationStage;

    let service = TestService::answering(FLAG).await;
    let mut config = ModerationConfig::default();
    config.hook.url = service.url();
    assert_eq!(try_hook(&config).await, None, "no stage asks it");
    config.stages.push(ModerationStage::Hook);
    let fine = try_hook(&config).await.unwrap().unwrap();
    assert!(fine.contains("answers in") && !fine.contains("key=1"), "{fine}");
    service.behave(Behaviour::HangUp);
    let error = try_hook(&config).await.unwrap().unwrap_err();
    assert!(error.contains("moderation.hook.url") && !error.contains("key=1"), "{error}");
}

#[tokio::test]
async fn the_hook_follows_the_stages_that_compute() {
    let service = TestService::answering(FLAG).await;
    let hook: Arc<dyn Stage> = Arc::new(bench(&service).stage);
    let pipeline = Pipeline::new(vec![hook]);
    assert_eq!(pipeline.concurrent_checks(), Some(64));
    let comment = comment(1, 2, "hi");
    let subject =
        Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline: None };
    let mut verdict = pipeline.check_in_order(&subject).await;
    assert_eq!(verdict, Verdict::accept());
    pipeline.check_waiting(&subject, &mut verdict).await;
    assert_eq!(verdict.decided_by, Some("hook"));
}
