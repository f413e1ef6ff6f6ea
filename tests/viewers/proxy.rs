//! Behind a real HAProxy, which tells the viewer's address by the PROXY protocol, and a real nginx,
//! which tells it in a header. `scripts/setup --stack` installs both.

#![allow(clippy::print_stderr, reason = "the log of a failed daemon is shown")]
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use live_comments::protocol::admin::Who;
use socket2::{Domain, Socket, Type};

use crate::support::{Daemon, PATIENCE, free_address};

const ANN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
const BOB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A running proxy, which is killed on drop.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Proxy {
    /// Starts a proxy whose configuration is in `{file}`, and waits until it listens.
    fn start(
        program: &str,
        arguments: &[&str],
        config: impl FnOnce(SocketAddr, &Path) -> String,
    ) -> Self {
        assert!(Path::new(program).exists(), "{program} is missing: run scripts/setup --stack");
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let file = directory.path().join("proxy.conf");
        std::fs::write(&file, config(address, directory.path())).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .arg(&file)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self { child, address, _directory: directory };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    fn haproxy(daemon: SocketAddr) -> Self {
        Self::start("/usr/sbin/haproxy", &["-db", "-q", "-f"], |listen, _| {
            format!(
                "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  \
                 timeout server 1m\nlisten viewers\n  bind {listen}\n  \
                 server lcd {daemon} send-proxy-v2\n"
            )
        })
    }

    /// nginx with the path that docs/proxy.md shows.
    fn nginx(daemon: SocketAddr) -> Self {
        Self::start("/usr/sbin/nginx", &["-c"], |listen, directory| {
            let directory = directory.display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
                .concat();
            format!(
                "daemon off;\nmaster_process off;\npid {directory}/pid;\n\
                 error_log {directory}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n\
                 {temporary}  server {{\n    listen {listen};\n    location /live/ {{\n      \
                 proxy_pass http://{daemon};\n      proxy_http_version 1.1;\n      \
                 proxy_set_header Upgrade $http_upgrade;\n      \
                 proxy_set_header Connection upgrade;\n      \
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
                 proxy_read_timeout 1h;\n    }}\n  }}\n}}\n"
            )
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Gone already, at worst.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends bytes from an address of this machine. The connection is open still.
fn send(from: IpAddr, to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}

/// Reads until a text has come or the connection has ended. Returns everything read.
fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(wanted) {
            return text;
        }
        match socket.read(&mut buffer) {
            Ok(0) => return text,
            Ok(bytes) => seen.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return text,
            Err(error) => panic!("{error} after {text}"),
        }
    }
}

fn handshake(path: &str, headers: &str) -> Vec<u8> {
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {headers}\r\n"
    );
    text.into_bytes()
}

/// Watches as a user. Returns the connection and its first messages.
fn watch(from: IpAddr, to: SocketAddr, path: &str, token: &str) -> (TcpStream, String) {
    let request = handshake(path, &format!("Authorization: Bearer {token}\r\n"));
    let mut socket = send(from, to, &request);
    let seen = read_until(&mut socket, "\"viewers\"");
    (socket, seen)
}

fn get(from: IpAddr, to: SocketAddr, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    read_until(&mut send(from, to, request.as_bytes()), "never")
}

async fn addresses(daemon: &Daemon, user: u64) -> Vec<Option<IpAddr>> {
    let who: Who = daemon.admin().get(&format!("/v1/who/{user}")).await.unwrap();
    who.connections.iter().map(|connection| connection.address).collect()
}

/// Returns the number of connections that were refused for a reason.
fn refused(metrics: SocketAddr, reason: &str) -> u64 {
    let answer = get(LOCAL, metrics, "/metrics", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let name = format!("lcd_connections_refused_total{{reason=\"{reason}\"}} ");
    let count = answer.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the proxies that scripts/stack up installs"]
async fn haproxy_tells_the_address_by_proxy_protocol() {
    let daemon = Daemon::start(
        "[gateway]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n\
         max_connections_per_address = 2\nhandshake_timeout = \"1s\"\n",
    );
    let proxy = Proxy::haproxy(daemon.address);
    let token = daemon.token(42, "ann");
    let (_first, seen) = watch(ANN, proxy.address, "/ws/1", &token);
    assert!(seen.contains("\"welcome\""), "{seen}");
    assert_eq!(addresses(&daemon, 42).await, [Some(ANN)]);
    let (_second, seen) = watch(ANN, proxy.address, "/ws/1", &token);
    assert!(seen.contains("\"welcome\""), "{seen}");
    let (_, seen) = watch(ANN, proxy.address, "/ws/1", &token);
    assert!(seen.contains("too_many_connections"), "the address has its two: {seen}");
    let (_other, seen) = watch(BOB, proxy.address, "/ws/1", &daemon.token(43, "bob"));
    assert!(seen.contains("\"welcome\""), "another address has its own two: {seen}");
    assert_eq!(addresses(&daemon, 43).await, [Some(BOB)]);

    let before = refused(proxy.address, "bad_proxy_header");
    let half = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0".as_slice();
    for garbage in [&handshake("/ws/1", "")[..], b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", half] {
        let answer = read_until(&mut send(LOCAL, daemon.address, garbage), "never");
        assert_eq!(answer, "", "closed without a word");
    }
    assert_eq!(refused(proxy.address, "bad_proxy_header"), before + 3);
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x08\x7f\0\0\x01\0\x50\0\x50";
    let forged = [&header[..], &handshake("/ws/1", "")].concat();
    let answer = read_until(&mut send(BOB, daemon.address, &forged), "never");
    assert_eq!((answer.as_str(), refused(proxy.address, "untrusted_proxy")), ("", 1));
    assert_eq!(addresses(&daemon, 42).await.len(), 2, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the proxies that scripts/stack up installs"]
async fn nginx_tells_the_address_in_a_header() {
    let daemon = Daemon::start(
        "[gateway]\nbase_path = \"/live\"\nforwarded_header = \"x-forwarded-for\"\n\
         trusted_proxies = [\"127.0.0.1/32\"]\n",
    );
    let proxy = Proxy::nginx(daemon.address);
    let token = daemon.token(42, "ann");
    let (_first, seen) = watch(ANN, proxy.address, "/live/ws/1", &token);
    assert!(seen.contains("\"welcome\""), "{seen}");
    assert_eq!(addresses(&daemon, 42).await, [Some(ANN)]);
    // The viewer's own header stands before what nginx adds.
    let forged = format!("Authorization: Bearer {token}\r\nX-Forwarded-For: 9.9.9.9\r\n");
    let mut second = send(BOB, proxy.address, &handshake("/live/stream/1", &forged));
    read_until(&mut second, "\"viewers\"");
    let mut known = addresses(&daemon, 42).await;
    known.sort_unstable();
    assert_eq!(known, [Some(ANN), Some(BOB)]);

    let page = get(ANN, proxy.address, "/live/stream/1", "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("../page/viewer.js"), "{page}");
    let script = get(ANN, proxy.address, "/live/page/viewer.js", "");
    assert!(script.starts_with("HTTP/1.1 200"), "{script}");

    let answer = get(BOB, daemon.address, "/live/", "X-Forwarded-For: 127.0.0.1\r\n");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("bad_forwarding"), "{answer}");
    let answer = get(LOCAL, daemon.address, "/live/", "X-Forwarded-For: over there\r\n");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("bad_forwarding"), "{answer}");
    assert_eq!(refused(daemon.address, "bad_forwarding"), 2);
    let answer = get(BOB, daemon.address, "/live/", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "a viewer that comes without a proxy: {answer}");
}

#[test]
fn everything_public_is_below_the_base_path() {
    let daemon = Daemon::start("[gateway]\nbase_path = \"/a/live\"\n");
    for (path, status) in [
        ("/a/live/", 200),
        ("/a/live/stream/1", 200),
        ("/a/live/overlay/1", 200),
        ("/a/live/moderate/1", 200),
        ("/a/live/page/viewer.js", 200),
        ("/a/live/client/index.js", 200),
        ("/a/live/api/streams/1", 200),
        ("/a/live/api/streams/1/comments?limit=5", 200),
        ("/a/live/ws/1", 426),
        ("/a/live?stream=7", 308),
        ("/a/live/openapi.json", 200),
        ("/openapi.json", 200),
        ("/healthz", 200),
        ("/metrics", 200),
        ("/a/live/metrics", 404),
        ("/", 404),
        ("/ws/1", 404),
        ("/a/liver/", 404),
        ("/api/streams/1", 404),
    ] {
        let answer = get(LOCAL, daemon.address, path, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let moved = get(LOCAL, daemon.address, "/a/live?stream=7", "").to_ascii_lowercase();
    assert!(moved.contains("location: /a/live/?stream=7\r\n"), "{moved}");
    let (_viewer, seen) = watch(LOCAL, daemon.address, "/a/live/ws/1", &daemon.token(1, "ann"));
    assert!(seen.contains("\"welcome\""), "{seen}");
}
