//! Clients that send garbage, or connect and leave by the thousand: the daemon keeps running,
//! closes every descriptor, and serves well-behaved clients.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use live_comments::protocol::admin::Status;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{self, Daemon, STREAM, history};

const AT_ONCE: usize = 64;

fn upgrade(protocol: &str, deflate: bool) -> String {
    let extensions = if deflate { "sec-websocket-extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET /ws/1 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: {protocol}\r\n{extensions}\r\n"
    )
}

fn bytes(random: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..most)];
    random.fill_bytes(&mut bytes);
    bytes
}

/// Returns a frame whose header is mostly valid and whose payload is random.
fn frame(random: &mut StdRng) -> Vec<u8> {
    let payload = match random.random_range(0..4) {
        0 => bytes(random, 200),
        1 => bytes(random, 8000),
        2 => br#"{"type":"comment","message":"#.to_vec(),
        _ => vec![b'['; random.random_range(1..3000)],
    };
    let opcodes = [0x0, 0x1, 0x1, 0x2, 0x2, 0x8, 0x9, 0xA, 0x3, 0xF];
    let flags = [0x80, 0x80, 0x80, 0x00, 0xC0, 0xC0, 0xA0][random.random_range(0..7)];
    let mut frame = vec![flags | opcodes[random.random_range(0..opcodes.len())]];
    let masked = if random.random_ratio(9, 10) { 0x80 } else { 0 };
    match payload.len() {
        _ if random.random_ratio(1, 20) => {
            frame.push(masked | 127);
            frame.extend(random.random::<u64>().to_be_bytes());
        }
        short @ 0..126 => frame.push(masked | short as u8),
        long => {
            frame.push(masked | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    let mask: [u8; 4] = random.random();
    if masked != 0 {
        frame.extend(mask);
    }
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Writes bytes that the server may not read to the end, and reads until it closes.
async fn write_and_drain(socket: &mut TcpStream, bytes: &[u8], patience: Duration) -> bool {
    let _ = timeout(patience, socket.write_all(bytes)).await;
    let mut answer = [0; 4096];
    let ended = async { while !matches!(socket.read(&mut answer).await, Ok(0) | Err(_)) {} };
    timeout(patience, ended).await.is_ok()
}

/// Runs `count` clients, [`AT_ONCE`] at a time.
async fn run_clients<F>(count: usize, mut client: impl FnMut(StdRng) -> F, seed: u64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for n in 0..count {
        if running.len() >= AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(client(StdRng::seed_from_u64(seed + n as u64)));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Waits until the daemon has no viewer and no more descriptors than before.
async fn wait_until_released(daemon: &Daemon, before: usize) {
    let settled = async {
        loop {
            let status: Status = daemon.admin().get("/v1/status").await.unwrap();
            // The request of this check has one or two itself.
            if status.connections == 0 && descriptors(daemon) <= before + 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let result = timeout(support::PATIENCE, settled).await;
    assert!(result.is_ok(), "{} descriptors now, {before} before", descriptors(daemon));
}

/// Starts a daemon, serves one client, and returns it with its number of open descriptors.
async fn warm_daemon(config: &str) -> (Daemon, usize) {
    let daemon = Daemon::start(config);
    let mut viewer = daemon.join(42, "ann").await;
    viewer.comment("before").await;
    drop(viewer);
    support::archived(&daemon).await;
    let left = async {
        while daemon.admin().get::<Status>("/v1/status").await.unwrap().connections > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(support::PATIENCE, left).await.expect("the viewer leaves");
    let open = descriptors(&daemon);
    (daemon, open)
}

/// Checks that a viewer and a sender are served as usual, and that nothing else was stored.
async fn check_service(daemon: &mut Daemon) {
    assert!(daemon.is_alive());
    let mut viewer = daemon.watch().await;
    let mut sender = daemon.join(42, "ann").await;
    let (_, seq) = sender.comment_as("after", "another").await;
    viewer.until_seq(seq).await;
    assert_eq!(viewer.texts(), ["after"]);
    support::archived(daemon).await;
    let stored = history(daemon, STREAM).await;
    let texts: Vec<_> = stored.iter().map(|comment| &*comment.message).collect();
    assert_eq!(texts, ["before", "after"]);
    assert!(!daemon.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_on_the_port_change_nothing() {
    let (mut daemon, open) = warm_daemon("[gateway]\nhandshake_timeout = \"500ms\"\n").await;
    let address = daemon.address;
    let client = |mut random: StdRng| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut noise = bytes(&mut random, 4000);
        if random.random_ratio(1, 3) {
            // Random bytes that begin like a request.
            let mut request = upgrade("lc.v1.json", true).into_bytes();
            let cut = random.random_range(0..request.len());
            request.truncate(cut);
            request.append(&mut noise);
            noise = request;
        }
        assert!(
            write_and_drain(&mut socket, &noise, Duration::from_secs(5)).await,
            "it is hung up on"
        );
    };
    run_clients(1000, client, 1).await;
    wait_until_released(&daemon, open).await;
    check_service(&mut daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_frames_after_a_handshake_change_nothing() {
    let (mut daemon, open) = warm_daemon("").await;
    let address = daemon.address;
    let client = |mut random: StdRng| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let protocol = ["lc.v1.json", "lc.v1.msgpack"][random.random_range(0..2)];
        // Frames sent together with the request must reach delivery.
        let mut sent = upgrade(protocol, random.random()).into_bytes();
        for _ in 0..random.random_range(1..40) {
            sent.extend(frame(&mut random));
        }
        let cut = random.random_range(sent.len() / 2..=sent.len());
        write_and_drain(&mut socket, &sent[..cut], Duration::from_millis(200)).await;
    };
    run_clients(1500, client, 2).await;
    wait_until_released(&daemon, open).await;
    check_service(&mut daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_handshakes_are_closed_in_time() {
    for tls in ["", "dev_tls = true\n"] {
        let config = format!("[gateway]\nhandshake_timeout = \"1s\"\n{tls}");
        let daemon = Daemon::start(&config);
        // No client was served yet: some files are opened by the first request.
        let open = descriptors(&daemon) + 8;
        let mut stalled = JoinSet::new();
        for n in 0..200 {
            let address = daemon.address;
            stalled.spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                let request = upgrade("lc.v1.json", false);
                // Some clients send nothing, some send a part, one byte at a time.
                for byte in request.as_bytes().iter().take(n / 2) {
                    let _ = socket.write_all(std::slice::from_ref(byte)).await;
                }
                let started = Instant::now();
                assert!(write_and_drain(&mut socket, b"", support::PATIENCE).await);
                started.elapsed()
            });
        }
        let mut longest = Duration::ZERO;
        while let Some(waited) = stalled.join_next().await {
            longest = longest.max(waited.unwrap());
        }
        println!("the longest of 200 stalled handshakes (`{tls}`) lasted {longest:?}");
        assert!(longest < Duration::from_secs(4), "{longest:?} with a timeout of 1 s");
        wait_until_released(&daemon, open).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_short_connections_leak_nothing() {
    let (mut daemon, open) = warm_daemon("").await;
    let address = daemon.address;
    let client = |mut random: StdRng| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = upgrade("lc.v1.json", random.random());
        match random.random_range(0..4) {
            // Leaves before, in the middle of, or after the request, or after the answer.
            0 => {}
            1 => {
                let cut = random.random_range(0..request.len());
                let _ = socket.write_all(&request.as_bytes()[..cut]).await;
            }
            2 => drop(socket.write_all(request.as_bytes()).await),
            _ => {
                let _ = socket.write_all(request.as_bytes()).await;
                let _ = socket.read(&mut [0; 512]).await;
            }
        }
        if random.random() {
            // Resets the connection instead of closing it.
            let _ = socket.set_zero_linger();
        }
    };
    let started = Instant::now();
    run_clients(5000, client, 3).await;
    println!("5 000 connections in {:?}", started.elapsed());
    wait_until_released(&daemon, open).await;
    check_service(&mut daemon).await;
}
