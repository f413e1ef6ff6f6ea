//! The admin API over TLS: who may, what each role may, and what `lc` says.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use live_comments::client::admin::{AdminClient, RemoteDaemon};
use live_comments::client::token::mint;
use live_comments::protocol::admin::{AdminClaims, AdminRole, AuditEntry, Cluster, Session};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::lcd::lcd;
use crate::support::{Daemon, PATIENCE, free_address};

const LC: &str = env!("CARGO_BIN_EXE_lc");
/// Exit codes of `lc`.
const NO_DAEMON: Option<i32> = Some(69);
const NOT_PERMITTED: Option<i32> = Some(77);

/// An authority, with the files of the certificates that it signs.
struct Authority {
    name: &'static str,
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new(name: &'static str, directory: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = directory.join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        Self { name, issuer, directory }
    }

    fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Signs a certificate and writes it and its key. Returns their files.
    fn sign(&self, common: &str, usage: ExtendedKeyUsagePurpose) -> (PathBuf, PathBuf) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["pem", "key"].map(|end| self.directory.join(format!("{common}.{end}")));
        let [cert_file, key_file] = files;
        std::fs::write(&cert_file, signed.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    fn client(&self, common: &str) -> (PathBuf, PathBuf) {
        self.sign(common, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A daemon with the admin API on an address of its own, and the authority of all certificates.
struct Site {
    daemon: Daemon,
    address: SocketAddr,
    authority: Authority,
    files: TempDir,
}

impl Site {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours", files.path());
        let (cert, key) = authority.sign("daemon", ExtendedKeyUsagePurpose::ServerAuth);
        let address = free_address();
        let config = format!(
            "[admin]\nlisten = \"{address}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
             client_ca = \"{}\"\n[admin.roles]\nvera = \"viewer\"\nmona = \"moderator\"\n\
             otto = \"operator\"\n",
            cert.display(),
            key.display(),
            authority.ca().display()
        );
        Self { daemon: Daemon::start(&config), address, authority, files }
    }

    fn node(&self) -> String {
        format!("lcd://localhost:{}", self.address.port())
    }

    fn remote(&self) -> RemoteDaemon {
        let node = self.node().parse().unwrap();
        let ca = Some(self.authority.ca());
        RemoteDaemon { node, ca, cert: None, key: None, token_file: None }
    }

    fn client_of(&self, common: &str) -> AdminClient {
        let (cert, key) = self.authority.client(common);
        let remote = RemoteDaemon { cert: Some(cert), key: Some(key), ..self.remote() };
        AdminClient::remote(&remote).unwrap()
    }

    /// Writes a token for the admin API that ends in so many seconds, or ended before.
    fn token(&self, role: AdminRole, seconds: i64) -> PathBuf {
        let secret = std::fs::read(self.daemon.data_dir().join("signing.key")).unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let mut claims = AdminClaims::new("tom", role, now, std::time::Duration::ZERO);
        claims.exp = claims.exp.saturating_add_signed(seconds);
        self.file("token", &mint(secret.trim_ascii(), &claims))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs `lc` on the node with files that the environment names.
    async fn lc(&self, line: &str, variables: &[(&'static str, PathBuf)]) -> Output {
        let mut command = Command::new(LC);
        command
            .args(line.split(' '))
            .args(["--node", &self.node()])
            .env_remove("LC_SOCKET")
            .env("LC_CA", self.authority.ca())
            .envs(variables.iter().cloned())
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn as_certificate((cert, key): (PathBuf, PathBuf)) -> [(&'static str, PathBuf); 2] {
    [("LC_CERT", cert), ("LC_KEY", key)]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_certificate_may_what_its_role_allows() {
    let site = Site::start();
    let vera = as_certificate(site.authority.client("vera"));
    let mona = as_certificate(site.authority.client("mona"));
    let otto = as_certificate(site.authority.client("otto"));

    let status = site.lc("nodes", &vera).await;
    assert_eq!(status.status.code(), Some(0), "{}", said(&status));
    let ban = site.lc("ban id:42", &vera).await;
    assert_eq!(ban.status.code(), NOT_PERMITTED, "{}", said(&ban));
    let words = "this needs the role moderator, and vera (certificate) has the role viewer";
    assert!(said(&ban).contains(words), "{}", said(&ban));
    let preview = site.lc("throttle 1 50% --dry-run", &vera).await;
    assert_eq!(preview.status.code(), Some(0), "{}", said(&preview));

    let ban = site.lc("ban id:42", &mona).await;
    assert_eq!(ban.status.code(), Some(0), "{}", said(&ban));
    let outcome: Value = serde_json::from_slice(&ban.stdout).unwrap();
    let throttle = site.lc("throttle 1 50%", &mona).await;
    assert_eq!(throttle.status.code(), NOT_PERMITTED, "{}", said(&throttle));
    let throttle = site.lc("throttle 1 50%", &otto).await;
    assert_eq!(throttle.status.code(), Some(0), "{}", said(&throttle));
    let outcome_of_throttle: Value = serde_json::from_slice(&throttle.stdout).unwrap();
    let undo = |outcome: &Value| format!("undo {}", outcome["audit_id"]);
    let undone = site.lc(&undo(&outcome_of_throttle), &mona).await;
    assert_eq!(undone.status.code(), NOT_PERMITTED, "{}", said(&undone));
    let undone = site.lc(&undo(&outcome), &mona).await;
    assert_eq!(undone.status.code(), Some(0), "{}", said(&undone));

    let audit: Cluster<AuditEntry> = site.daemon.admin().get("/v1/audit?limit=10").await.unwrap();
    let done: Vec<_> = audit
        .items
        .iter()
        .map(|entry| format!("{} {}", entry.actor, entry.action))
        .filter(|done| done.contains("(certificate)"))
        .collect();
    let expected =
        ["mona (certificate) undo", "otto (certificate) throttle", "mona (certificate) ban"];
    assert_eq!(done, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_proof_are_refused() {
    let site = Site::start();
    let nobody = site.lc("nodes", &[]).await;
    assert_eq!(nobody.status.code(), NOT_PERMITTED, "{}", said(&nobody));
    assert!(said(&nobody).contains("lc token --admin"), "{}", said(&nobody));

    let others = Authority::new("theirs", site.files.path());
    let foreign = site.lc("nodes", &as_certificate(others.client("otto"))).await;
    assert_eq!(foreign.status.code(), NOT_PERMITTED, "{}: {}", others.name, said(&foreign));
    assert!(said(&foreign).contains("admin.client_ca"), "{}", said(&foreign));

    let unknown = site.lc("nodes", &as_certificate(site.authority.client("eve"))).await;
    assert_eq!(unknown.status.code(), NOT_PERMITTED, "{}", said(&unknown));
    assert!(said(&unknown).contains("[admin.roles]"), "{}", said(&unknown));

    let expired = site.token(AdminRole::Operator, -3_600);
    let expired = site.lc("nodes", &[("LC_TOKEN_FILE", expired)]).await;
    assert_eq!(expired.status.code(), NOT_PERMITTED, "{}", said(&expired));
    assert!(said(&expired).contains("token_expired"), "{}", said(&expired));

    // The token of an administrator of streams opens nothing here.
    let viewer = site.daemon.token_of(42, "ann", live_comments::protocol::Role::Admin);
    let viewer = site.file("viewer", &viewer);
    let viewer = site.lc("nodes", &[("LC_TOKEN_FILE", viewer)]).await;
    assert_eq!(viewer.status.code(), NOT_PERMITTED, "{}", said(&viewer));
    assert!(said(&viewer).contains("token_audience"), "{}", said(&viewer));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_daemon_is_talked_to() {
    let site = Site::start();
    let others = Authority::new("theirs", site.files.path());
    let token = site.token(AdminRole::Operator, 60);
    let variables = [("LC_TOKEN_FILE", token.clone()), ("LC_CA", others.ca())];
    let untrusted = site.lc("nodes", &variables).await;
    assert_eq!(untrusted.status.code(), NO_DAEMON, "{}", said(&untrusted));
    assert!(said(&untrusted).contains("--ca"), "{}", said(&untrusted));

    let mut plain = TcpStream::connect(site.address).await.unwrap();
    plain.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The connection is closed, or reset.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("it ends");
    assert!(!answer.starts_with(b"HTTP"), "nothing is served without TLS");

    let Site { daemon, address, authority, files } = site;
    daemon.terminate();
    let absent = Command::new(LC)
        .args(["nodes", "--node", &format!("lcd://localhost:{}", address.port())])
        .env("LC_TOKEN_FILE", token)
        .env("LC_CA", authority.ca())
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), NO_DAEMON, "{}", said(&absent));
    assert!(said(&absent).contains("admin.listen"), "{}", said(&absent));
    drop(files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_token_and_a_context_are_enough() {
    let site = Site::start();
    let socket = site.daemon.socket();
    let home = site.files.path().to_owned();
    let run = async |words: Vec<String>| {
        let home = home.clone();
        let mut command = Command::new(LC);
        command.args(words).env("XDG_CONFIG_HOME", home).env_remove("LC_SOCKET");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mint = format!("token --admin moderator --name tom --for 1h --socket {}", socket.display());
    let minted = run(words(&mint)).await;
    assert_eq!(minted.status.code(), Some(0), "{}", said(&minted));
    let token = site.file("tom.token", &String::from_utf8(minted.stdout).unwrap());
    let add = format!(
        "ctx add prod --node {} --token-file {} --ca {}",
        site.node(),
        token.display(),
        site.authority.ca().display()
    );
    let added = run(words(&add)).await;
    assert_eq!(added.status.code(), Some(0), "{}", said(&added));
    let listed = run(words("ctx list")).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["node"], site.node());

    for (line, code) in [
        ("--ctx prod status", Some(0)),
        ("--ctx prod top --once", Some(0)),
        ("--ctx prod events", Some(0)),
        ("--ctx prod timeout id:42 --for 10m", Some(0)),
        ("--ctx prod drain", NOT_PERMITTED),
        ("--ctx prod token --user 1", NOT_PERMITTED),
    ] {
        let output = run(words(line)).await;
        let is_health = line.ends_with("status") && output.status.code() == Some(3);
        assert!(output.status.code() == code || is_health, "{line}: {}", said(&output));
        if line.contains("top") {
            let frame = String::from_utf8(output.stdout).unwrap();
            assert!(frame.contains("─ pipeline"), "{frame}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_lines_arrive_over_the_network() {
    use futures_util::StreamExt as _;

    let site = Site::start();
    let client = site.client_of("vera");
    let session: Session = client.get("/v1/session").await.unwrap();
    assert_eq!((session.role, session.actor.as_str()), (AdminRole::Viewer, "vera (certificate)"));
    let local: Session = site.daemon.admin().get("/v1/session").await.unwrap();
    assert_eq!(local.role, AdminRole::Operator);
    assert_eq!(session.node, local.node);

    let mut tail = client.lines::<Value>("/v1/tail/1").await.unwrap();
    let mut top = client.lines::<Value>("/v1/top?interval_ms=50").await.unwrap();
    let mut sender = site.daemon.join(42, "ann").await;
    sender.comment("over there").await;
    let comment = async {
        loop {
            let line = tail.next().await.unwrap().unwrap().to_string();
            if line.contains("over there") {
                return;
            }
        }
    };
    timeout(PATIENCE, comment).await.expect("the comment");
    for _ in 0..2 {
        let snapshot = timeout(PATIENCE, top.next()).await.expect("a snapshot");
        assert!(snapshot.unwrap().unwrap()["streams"].is_array());
    }
}

#[test]
fn check_says_what_the_admin_api_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for (config, named) in [
        ("admin.listen = \"127.0.0.1:0\"", "admin.certificate"),
        ("admin.listen = \"127.0.0.1:0\"\nadmin.certificate = \"/c\"", "admin.key"),
        ("admin.roles = { ann = \"operator\" }", "admin.client_ca"),
        (
            "admin.listen = \"127.0.0.1:0\"\nadmin.certificate = \"/nowhere/c\"\n\
             admin.key = \"/nowhere/k\"",
            "/nowhere/k",
        ),
    ] {
        for words in [&["check"][..], &[]] {
            let run = lcd(config, &data, "127.0.0.1:0", words);
            assert_eq!(run.code, Some(64), "{config} {words:?}: {}", run.text);
            assert!(run.text.contains(named), "{config} {words:?}: {}", run.text);
        }
    }
}
