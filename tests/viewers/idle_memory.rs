//! Memory that idle viewers cost the daemon, without a clock: resident memory after minus before.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used, reason = "a test panics where a program would report")]

use std::io::{Read, Write};
use std::net::TcpStream;

use live_comments::client::Trust;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::{Daemon, raise_limit_of_open_files};

const VIEWERS: u64 = 2000;
/// The first viewers pay for what the allocator keeps per thread and size.
const EARLIER_VIEWERS: u64 = 500;
/// With many viewers, a release build takes 0.5 KB each. Here partly filled pages count too; a
/// read buffer, a task or a compressor per viewer would still be several times this.
const MAX_BYTES_A_VIEWER: u64 = 6 * 1024;

/// The same over TLS 1.3. A build for tests takes 2.4 KB.
const MAX_BYTES_A_WSS_VIEWER: u64 = 4 * 1024;

#[test]
fn idle_viewer_costs_no_buffer() {
    raise_limit_of_open_files();
    let daemon = Daemon::start("");
    let each = bytes_each(&daemon, || watch(TcpStream::connect(daemon.address).unwrap()));
    println!("{each} bytes a viewer");
    assert!(each <= MAX_BYTES_A_VIEWER, "{each} bytes a viewer; at most {MAX_BYTES_A_VIEWER}");
}

#[test]
fn idle_wss_viewer_costs_at_most_4_kib() {
    raise_limit_of_open_files();
    let daemon = Daemon::start("[gateway]\ndev_tls = true\n");
    let tls = Trust::AnyCertificate.config();
    let each = bytes_each(&daemon, || {
        let socket = TcpStream::connect(daemon.address).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(tls.clone(), name).unwrap();
        watch(StreamOwned::new(session, socket))
    });
    println!("{each} bytes a viewer over TLS");
    let most = MAX_BYTES_A_WSS_VIEWER;
    assert!(each <= most, "{each} bytes a viewer over TLS; at most {most}");
}

/// Returns the memory that the daemon takes for each viewer that `connect` connects.
fn bytes_each<V>(daemon: &Daemon, connect: impl Fn() -> V) -> u64 {
    let mut viewers: Vec<V> = (0..EARLIER_VIEWERS).map(|_| connect()).collect();
    let before = resident_bytes(daemon.pid());
    viewers.extend((0..VIEWERS).map(|_| connect()));
    let grown = resident_bytes(daemon.pid()).saturating_sub(before);
    grown / VIEWERS
}

/// Opens a WebSocket and waits until it is welcomed, so that delivery holds it.
fn watch<S: Read + Write>(mut socket: S) -> S {
    let request = "GET /ws/1 HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !contains(&seen, br#""type":"welcome""#) {
        let bytes = socket.read(&mut buffer).unwrap();
        assert!(bytes > 0, "closed after {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..bytes]);
    }
    socket
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
