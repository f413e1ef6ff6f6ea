//! TLS, keys of other issuers, and expiring tokens, over real sockets.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use live_comments::client::viewer::{ConnectError, ViewerConnection, ViewerError, ViewerOptions};
use live_comments::client::{Endpoint, Trust};
use live_comments::protocol::{ClientMessage, CloseCode, ErrorCode, ServerMessage};
use nix::sys::signal::Signal;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{self, Daemon, Viewer, comment, msgpack, raise_limit_of_open_files};

const DEV_TLS: &str = "[gateway]\ndev_tls = true\n";

/// Public and private keys that only tests use.
macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("../../src/daemon/stages/auth/fixtures/", $name, ".pem"))
    };
}

fn over_tls(daemon: &Daemon) -> ViewerOptions {
    let endpoint: Endpoint = format!("wss://{}", daemon.address).parse().unwrap();
    ViewerOptions { endpoint, trust: Trust::AnyCertificate, ..daemon.options() }
}

fn as_user(daemon: &Daemon, user_id: u64, options: ViewerOptions) -> ViewerOptions {
    ViewerOptions { token: Some(daemon.token(user_id, "ann").into()), ..options }
}

/// Writes a certificate and its key to files. Returns the configuration and the certificate.
fn certificate(directory: &Path) -> (String, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["chat.test".to_owned()]).unwrap();
    let certificate = directory.join("cert.pem");
    let key = directory.join("key.pem");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "[gateway.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        certificate.display(),
        key.display()
    );
    (config, made.cert.der().clone())
}

/// Opens a TLS connection that trusts exactly one certificate.
async fn connect_tls(
    daemon: &Daemon,
    certificate: rustls::pki_types::CertificateDer<'static>,
    receive_bytes: Option<u32>,
) -> TlsStream<TcpStream> {
    try_tls(daemon, certificate, receive_bytes).await.unwrap()
}

async fn try_tls(
    daemon: &Daemon,
    certificate: rustls::pki_types::CertificateDer<'static>,
    receive_bytes: Option<u32>,
) -> std::io::Result<TlsStream<TcpStream>> {
    try_tls_with(daemon, certificate, receive_bytes, Vec::new()).await
}

/// The same, offering these protocols (ALPN).
async fn try_tls_with(
    daemon: &Daemon,
    certificate: rustls::pki_types::CertificateDer<'static>,
    receive_bytes: Option<u32>,
    protocols: Vec<Vec<u8>>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols;
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    let socket = socket.connect(daemon.address).await.unwrap();
    let name = ServerName::try_from("chat.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn https(
    daemon: &Daemon,
    certificate: &rustls::pki_types::CertificateDer<'static>,
    request: &str,
) -> String {
    let mut stream = connect_tls(daemon, certificate.clone(), None).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it ends with a close_notify");
    answer
}

#[tokio::test]
async fn viewers_comment_read_and_resume_over_wss() {
    let daemon = Daemon::start(DEV_TLS);
    let mut json = Viewer::join(over_tls(&daemon)).await;
    let mut packed = Viewer::join(msgpack(over_tls(&daemon))).await;
    let mut sender = Viewer::join(as_user(&daemon, 42, over_tls(&daemon))).await;
    let start = json.position;
    let text = "x".repeat(450);
    let mut last = 0;
    for n in 0..300 {
        last = sender.comment(&format!("{n} {text}")).await.1;
    }
    for viewer in [&mut json, &mut packed, &mut sender] {
        viewer.until_seq(last).await;
        assert_eq!((viewer.comments.len(), viewer.gaps.len()), (300, 0));
    }
    let mut back = Viewer::join(ViewerOptions { resume: Some(start), ..over_tls(&daemon) }).await;
    back.until_seq(last).await;
    assert_eq!(back.comments, json.comments);
    daemon.signal_term();
    assert_eq!(json.until_closed().await, CloseCode::Shutdown.number());
    daemon.stopped();
}

#[tokio::test]
async fn https_serves_the_api_with_the_certificate() {
    let files = tempfile::tempdir().unwrap();
    let (config, certificate) = certificate(files.path());
    let daemon = Daemon::start(&config);
    let head = "HTTP/1.1\r\nhost: chat.test\r\nconnection: close\r\n";
    let token = daemon.token(42, "ann");
    let body = r#"{"message":"over https"}"#;
    let answer = https(
        &daemon,
        &certificate,
        &format!(
            "POST /api/streams/1/comments {head}authorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    support::archived(&daemon).await;
    let answer =
        https(&daemon, &certificate, &format!("GET /api/streams/1/comments {head}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("over https"), "{answer}");
    let mut viewer = Viewer::join(as_user(&daemon, 42, over_tls(&daemon))).await;
    viewer.comment("and over wss").await;
}

/// Returns whether a handshake presents this certificate.
async fn presents(
    daemon: &Daemon,
    certificate: &rustls::pki_types::CertificateDer<'static>,
) -> bool {
    let stream = try_tls(daemon, certificate.clone(), None).await;
    stream.is_ok_and(|stream| {
        let (_, session) = stream.get_ref();
        session.peer_certificates().unwrap() == [certificate.clone()]
    })
}

#[tokio::test]
async fn sighup_loads_a_certificate_unless_it_is_broken() {
    let files = tempfile::tempdir().unwrap();
    let (config, first) = certificate(files.path());
    let daemon = Daemon::start(&config);
    let mut viewer = Viewer::join(as_user(&daemon, 42, over_tls(&daemon))).await;
    assert!(presents(&daemon, &first).await);
    let (_, renewed) = certificate(files.path());
    assert!(presents(&daemon, &first).await, "not before it is asked for");
    daemon.signal(Signal::SIGHUP);
    let served = async {
        while !presents(&daemon, &renewed).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, served).await.expect("the renewed certificate");
    assert!(!presents(&daemon, &first).await);
    std::fs::write(files.path().join("key.pem"), "broken").unwrap();
    daemon.signal(Signal::SIGHUP);
    let said = async {
        while !daemon.log().contains("gateway.tls.key") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, said).await.expect("it says what is wrong");
    assert!(presents(&daemon, &renewed).await);
    viewer.comment("still connected").await;
}

/// Connections that watch over TLS while the certificate is replaced. `LC_SWAP_VIEWERS=5000`
/// measures more (docs/benchmarks.md).
const SWAP_VIEWERS: usize = 300;

/// Opens a WebSocket over TLS and reads until it is welcomed.
async fn watch_tls(
    daemon: &Daemon,
    certificate: &rustls::pki_types::CertificateDer<'static>,
) -> TlsStream<TcpStream> {
    let mut stream = connect_tls(daemon, certificate.clone(), None).await;
    let upgrade = "GET /ws/1 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
                   connection: upgrade\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    read_until(&mut stream, b"\"welcome\"").await;
    stream
}

async fn read_until(stream: &mut TlsStream<TcpStream>, wanted: &[u8]) {
    let reading = async {
        let mut seen = Vec::new();
        while !seen.windows(wanted.len()).any(|window| window == wanted) {
            let bytes = stream.read_buf(&mut seen).await.unwrap();
            assert_ne!(bytes, 0, "closed after {}", String::from_utf8_lossy(&seen));
        }
    };
    tokio::time::timeout(support::PATIENCE, reading).await.expect("what is awaited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_drops_nobody() {
    let viewers = std::env::var("LC_SWAP_VIEWERS").map_or(SWAP_VIEWERS, |n| n.parse().unwrap());
    raise_limit_of_open_files();
    let files = tempfile::tempdir().unwrap();
    let (tls, first) = certificate(files.path());
    // The connections answer no pings while others are opened.
    let patient = "[gateway]\nping_interval = \"10m\"\nidle_timeout = \"20m\"\n";
    let daemon = Daemon::start(&format!("{patient}{tls}"));
    let mut held = Vec::new();
    for _ in 0..viewers {
        held.push(watch_tls(&daemon, &first).await);
    }
    let (_, renewed) = certificate(files.path());
    let began = Instant::now();
    daemon.signal(Signal::SIGHUP);
    while !presents(&daemon, &renewed).await {
        assert!(began.elapsed() < support::PATIENCE, "the renewed certificate");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let served = began.elapsed();
    let mut sender = Viewer::join(as_user(&daemon, 42, over_tls(&daemon))).await;
    sender.comment("after the renewal").await;
    for stream in &mut held {
        read_until(stream, b"after the renewal").await;
    }
    let status: live_comments::protocol::admin::Status =
        daemon.admin().get("/v1/status").await.unwrap();
    assert_eq!(status.connections, viewers as u64 + 1, "none was dropped");
    println!("{viewers} viewers kept; new ones got the new certificate after {served:?}");
}

#[tokio::test]
async fn http2_is_chosen_only_by_those_who_offer_it() {
    let files = tempfile::tempdir().unwrap();
    let (config, certificate) = certificate(files.path());
    let daemon = Daemon::start(&config);
    let offer = |protocols: &[&str]| -> Vec<Vec<u8>> {
        protocols.iter().map(|name| name.as_bytes().to_vec()).collect()
    };
    let cases: [(&[&str], Option<&str>); 3] =
        [(&["h2", "http/1.1"], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)];
    for (offered, chosen) in cases {
        let stream =
            try_tls_with(&daemon, certificate.clone(), None, offer(offered)).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
    }
    let refused = try_tls_with(&daemon, certificate, None, offer(&["smtp"])).await;
    assert!(refused.is_err(), "nothing in common");
}

#[tokio::test]
async fn plain_http_on_a_tls_port_closes_the_connection() {
    let daemon = Daemon::start(DEV_TLS);
    let answer = support::raw(&daemon, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let is_alert = answer.is_empty() || answer[0] == 21;
    assert!(is_alert, "an alert or nothing: {:?}", String::from_utf8_lossy(&answer));
    match ViewerConnection::join(&daemon.options()).await.map(|_| ()).unwrap_err() {
        ConnectError::Handshake { .. } | ConnectError::Unreachable { .. } => {}
        other => panic!("{other}"),
    }
    Viewer::join(over_tls(&daemon)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_viewer_that_does_not_read_delays_nobody() {
    let files = tempfile::tempdir().unwrap();
    let (config, certificate) = certificate(files.path());
    let small = "[delivery]\nring_frames = 16\nring_bytes = \"256 KiB\"\n";
    let daemon = Daemon::start(&format!("{config}{small}"));
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = connect_tls(&daemon, certificate.clone(), Some(4096)).await;
        let upgrade = "GET /ws/1 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
                       connection: upgrade\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let mut viewer = Viewer::join(over_tls(&daemon)).await;
    let mut sender = Viewer::join(as_user(&daemon, 42, over_tls(&daemon))).await;
    let text = "x".repeat(450);
    for batch in 0..60 {
        let mut last = 0;
        for n in 0..40 {
            sender.send(&comment(&text, &format!("{batch}-{n}"))).await;
        }
        for _ in 0..40 {
            let ack = |message: &ServerMessage| match message {
                ServerMessage::Ack { seq, .. } => Some(*seq),
                _ => None,
            };
            last = last.max(sender.until(ack).await);
        }
        viewer.until_seq(last).await;
    }
    assert_eq!((viewer.comments.len(), viewer.gaps.len()), (60 * 40, 0));
    for mut stream in slow {
        let mut seen = Vec::new();
        let told = async {
            let mut buffer = vec![0; 64 * 1024];
            while !seen.windows(12).any(|window| window == b"\"type\":\"gap\"") {
                let bytes = stream.read(&mut buffer).await.unwrap();
                assert_ne!(bytes, 0, "not closed");
                seen.extend_from_slice(&buffer[..bytes]);
            }
        };
        tokio::time::timeout(support::PATIENCE, told).await.expect("told what it skipped");
    }
}

/// Returns the error of `lcd` for a configuration that it cannot start with.
fn start_error(directory: &Path, config: &str) -> String {
    let file = directory.join("lcd.toml");
    std::fs::write(&file, config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lcd"))
        .arg("--config")
        .arg(&file)
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + support::PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("lcd started with:\n{config}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "{}", output.status);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn unusable_certificates_are_named_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (config, _) = certificate(path);
    let other = tempfile::tempdir().unwrap();
    let (other_config, _) = certificate(other.path());
    let replaced = |name: &str, with: &str| {
        config.replace(path.join(name).to_str().unwrap(), path.join(with).to_str().unwrap())
    };
    std::fs::write(path.join("garbage.pem"), "no certificate").unwrap();
    std::fs::write(path.join("rsa.pem"), key!("rsa_public")).unwrap();
    let other_key = config.replace(
        path.join("key.pem").to_str().unwrap(),
        other.path().join("key.pem").to_str().unwrap(),
    );
    assert_ne!(other_config, config);
    let jwt_key = |algorithm: &str, file: &str| {
        let file = path.join(file);
        format!("[[auth.keys]]\nalgorithm = \"{algorithm}\"\nfile = \"{}\"\n", file.display())
    };
    for (config, names) in [
        (replaced("cert.pem", "missing.pem"), ["gateway.tls.certificate", "missing.pem"]),
        (replaced("key.pem", "missing.pem"), ["gateway.tls.key", "missing.pem"]),
        (replaced("cert.pem", "garbage.pem"), ["gateway.tls.certificate", "garbage.pem"]),
        (replaced("key.pem", "cert.pem"), ["gateway.tls.key", "private key"]),
        (other_key, ["gateway.tls", "cannot be used together"]),
        (jwt_key("RS256", "missing.pem"), ["auth.keys", "missing.pem"]),
        (jwt_key("ES256", "rsa.pem"), ["auth.keys", "rsa.pem"]),
        (jwt_key("EdDSA", "garbage.pem"), ["auth.keys", "garbage.pem"]),
        (jwt_key("none", "rsa.pem"), ["none", "HS256"]),
    ] {
        let complaint = start_error(path, &config);
        for name in names {
            assert!(complaint.contains(name), "`{name}` is not in: {complaint}");
        }
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Returns a token of another issuer.
fn issue(key: &EncodingKey, algorithm: Algorithm, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_accepted() {
    let files = tempfile::tempdir().unwrap();
    let mut config = "[auth]\nissuer = \"accounts\"\naudience = \"chat\"\n".to_owned();
    let secret = "a shared secret of enough bytes, for a test";
    for (algorithm, public) in [
        ("HS256", secret),
        ("RS256", key!("rsa_public")),
        ("ES256", key!("p256_public")),
        ("EdDSA", key!("ed25519_public")),
    ] {
        let file = files.path().join(algorithm);
        std::fs::write(&file, public).unwrap();
        config.push_str(&format!(
            "[[auth.keys]]\nalgorithm = \"{algorithm}\"\nfile = \"{}\"\n",
            file.display()
        ));
    }
    let daemon = Daemon::start(&config);
    let keys = [
        (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes())),
        (Algorithm::RS256, EncodingKey::from_rsa_pem(key!("rsa_private").as_bytes()).unwrap()),
        (Algorithm::ES256, EncodingKey::from_ec_pem(key!("p256_private").as_bytes()).unwrap()),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(key!("ed25519_private").as_bytes()).unwrap()),
    ];
    let mut reader = daemon.watch().await;
    let mut last = 0;
    for (user_id, (algorithm, key)) in (1_u64..).zip(&keys) {
        let claims = json!({
            "sub": user_id.to_string(), "name": format!("{algorithm:?}"), "exp": now_s() + 60.0,
            "iss": "accounts", "aud": ["chat"],
        });
        let token = Some(issue(key, *algorithm, &claims).into());
        let mut viewer = Viewer::join(ViewerOptions { token, ..daemon.options() }).await;
        assert_eq!(viewer.welcome.user.as_ref().unwrap().user_id.0, user_id);
        last = viewer.comment("hi").await.1;
        for (change, expected) in [
            (json!({"iss": "evil"}), ErrorCode::TokenIssuer),
            (json!({"aud": "tv"}), ErrorCode::TokenAudience),
            (json!({"exp": now_s() - 31.0}), ErrorCode::TokenExpired),
        ] {
            let mut claims = claims.clone();
            claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let token = Some(issue(key, *algorithm, &claims).into());
            let options = ViewerOptions { token, ..daemon.options() };
            match ViewerConnection::join(&options).await.map(|_| ()).unwrap_err() {
                ConnectError::NotWelcome { error: ViewerError::Refused { code, .. }, .. } => {
                    assert_eq!(code, expected, "{algorithm:?} {change}");
                }
                other => panic!("{other}"),
            }
        }
    }
    reader.until_seq(last).await;
    let names: Vec<_> = reader.comments.iter().map(|comment| &*comment.name).collect();
    assert_eq!(names, ["HS256", "RS256", "ES256", "EdDSA"]);
}

async fn log_in(viewer: &mut Viewer, token: String) {
    viewer.send(&ClientMessage::Auth { token }).await;
    let welcomed = |message: &ServerMessage| match message {
        ServerMessage::Welcome { user, .. } => user.is_some().then_some(()),
        _ => None,
    };
    viewer.until(welcomed).await;
}

#[tokio::test]
async fn a_connection_ends_soon_after_its_token() {
    let daemon = Daemon::start("[auth]\nleeway = \"1s\"\n");
    let lasting =
        |seconds: u64| daemon.token_with(42, "ann", |claims| claims.exp = now_s() as u64 + seconds);
    let mut anonymous = daemon.watch().await;
    let mut late = daemon.watch().await;
    let mut renewed = daemon.watch().await;
    let started = Instant::now();
    let token = Some(lasting(2).into());
    let mut viewer = Viewer::join(ViewerOptions { token, ..daemon.options() }).await;
    log_in(&mut late, lasting(2)).await;
    log_in(&mut renewed, lasting(2)).await;
    log_in(&mut renewed, lasting(600)).await;
    viewer.comment("still good").await;
    for (viewer, what) in [(&mut viewer, "handshake"), (&mut late, "auth message")] {
        let error = viewer
            .until(|message| match message {
                ServerMessage::Error { code, .. } => Some(*code),
                _ => None,
            })
            .await;
        assert_eq!(error, ErrorCode::TokenExpired, "{what}");
        assert_eq!(viewer.until_closed().await, CloseCode::TokenExpired.number(), "{what}");
        let elapsed = started.elapsed();
        println!("closed {elapsed:?} after a token of 1 to 2 s with 1 s of leeway");
        assert!(elapsed > Duration::from_secs(2), "not before its end: {elapsed:?}");
        assert!(elapsed < Duration::from_secs(5), "soon after its end: {elapsed:?}");
    }
    renewed.comment("a fresh token in time").await;
    anonymous.send(&ClientMessage::Ping).await;
    anonymous.until(|message| matches!(message, ServerMessage::Pong).then_some(())).await;
}
