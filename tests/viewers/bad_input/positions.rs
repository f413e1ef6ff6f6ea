//! Positions in a stream and places in its history, of viewers without a WebSocket.

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::RequestCase;
use crate::support::{self, Daemon, http};

/// A position of an event stream or a poll, and the expected status and error code.
pub(super) struct PositionCase {
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    status: u16,
    code: &'static str,
}

impl PositionCase {
    pub(super) fn request(&self) -> RequestCase<'_> {
        (self.path, "GET", self.path, &self.headers, None, self.status, self.code)
    }
}

pub(super) fn positions() -> Vec<PositionCase> {
    let of = |path, headers, status, code| PositionCase { path, headers, status, code };
    let ids = ["", "soon", "3", "3:", ":841", "-3:841", "3:8:1", "3:0x1", "99999999999:1"];
    let mut cases: Vec<_> = ids
        .into_iter()
        .map(|id| of("/api/streams/1/events", vec![("last-event-id", id)], 400, "bad_request"))
        .collect();
    for path in [
        "/api/streams/1/events?epoch=3",
        "/api/streams/1/events?epoch=3&seq=x",
        "/api/streams/1/events?epoch=-3&seq=1",
        "/api/streams/one/events",
        "/api/streams/1/comments/poll?since=",
        "/api/streams/1/comments/poll?since=3.841",
        "/api/streams/1/comments/poll?since=3.841.00000000000000000000000000000000.-1",
        "/api/streams/1/comments/poll?since=3.841.%3Cscript%3E.0",
        "/api/streams/1/comments/poll?wait_ms=30001",
        "/api/streams/1/comments/poll?wait_ms=-1",
        "/api/streams/1/comments/poll?wait_ms=1e3",
        "/api/streams/one/comments/poll",
    ] {
        cases.push(of(path, Vec::new(), 400, "bad_request"));
    }
    for (path, status, code) in [
        ("/api/streams/77/events", 404, "unknown_stream"),
        ("/api/streams/77/comments/poll", 404, "unknown_stream"),
        ("/api/streams/1/events?token=a.b.c", 401, "token_malformed"),
        ("/api/streams/1/comments/poll?token=a.b.c", 401, "token_malformed"),
    ] {
        cases.push(of(path, Vec::new(), status, code));
    }
    cases
}

/// Places in the history of a stream that was just started.
pub(super) fn history_places() -> Vec<PositionCase> {
    let of = |path, status, code| PositionCase { path, headers: Vec::new(), status, code };
    let bad = [
        "/api/streams/1/comments?before=",
        "/api/streams/1/comments?before=%1B%5B2J",
        "/api/streams/1/comments?before=2f5e1c80-c6e5-11f0-8000-0242ac12000",
        "/api/streams/1/comments?before=%27%20OR%201%3D1--",
        "/api/streams/1/comments?at=",
        "/api/streams/1/comments?at=-1",
        "/api/streams/1/comments?at=%2B1",
        "/api/streams/1/comments?at=1.5",
        "/api/streams/1/comments?at=1e3",
        "/api/streams/1/comments?at=NaN",
        "/api/streams/1/comments?at=9007199254740992",
        "/api/streams/1/comments?at=99999999999999999999",
        "/api/streams/1/comments?at=%3Cscript%3E",
        "/api/streams/1/comments?at=1&at=2",
        "/api/streams/1/comments?at=0&before=2f5e1c80-c6e5-11f0-8000-0242ac120002",
    ];
    let beyond = of("/api/streams/1/comments?at=9007199254740991", 416, "beyond_end");
    let unknown = of("/api/streams/77/comments?at=0", 404, "unknown_stream");
    bad.into_iter().map(|path| of(path, 400, "bad_request")).chain([beyond, unknown]).collect()
}

/// A position of another log, or one that this log has not reached, is not an error: the viewer is
/// told where it stands, over each transport.
#[tokio::test]
async fn a_foreign_position_begins_at_the_newest() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let (_, seq) = ann.comment("before").await;
    ann.until_seq(seq).await;
    let epoch = ann.position.epoch.0;
    let newest = format!("\"epoch\":{epoch},\"seq\":{seq}");
    let session = "0".repeat(32);
    for (foreign_epoch, foreign_seq) in [(epoch + 1, 1), (epoch, 9_007_199_254_740_991_u64)] {
        let id = format!("last-event-id: {foreign_epoch}:{foreign_seq}\r\n");
        first_welcome(&daemon, "/api/streams/1/events", &id, &newest).await;
        let query = format!("epoch={foreign_epoch}&seq={foreign_seq}");
        first_welcome(&daemon, &format!("/api/streams/1/events?{query}"), "", &newest).await;
        let since = format!("since={foreign_epoch}.{foreign_seq}.{session}.0");
        for query in [query, since] {
            let mut path = format!("/api/streams/1/comments/poll?{query}&wait_ms=1000");
            let mut told = String::new();
            let mut is_placed = false;
            for _ in 0..2 {
                let (status, body) = http(&daemon, "GET", &path, &[], None).await;
                assert_eq!(status, 200, "{path}: {body}");
                let messages = body["messages"].as_array().unwrap();
                is_placed |= messages.iter().any(|message| {
                    message["type"] == "welcome"
                        && message["epoch"] == epoch
                        && message["seq"] == seq
                });
                told.push_str(&body["messages"].to_string());
                let since = body["since"].as_str().unwrap();
                path = format!("/api/streams/1/comments/poll?since={since}&wait_ms=1000");
            }
            assert!(is_placed, "{path}: {told}");
            assert!(!told.contains("before"), "{told}");
        }
    }
}

/// Reads an event stream until it has a text.
async fn first_welcome(daemon: &Daemon, path: &str, headers: &str, wanted: &str) {
    use tokio::io::AsyncReadExt as _;
    let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let read = socket.read_buf(&mut seen).await.unwrap();
            assert_ne!(read, 0, "no {wanted} in {}", String::from_utf8_lossy(&seen));
        }
    };
    timeout(support::PATIENCE, reading).await.expect("a welcome in time");
    assert!(!String::from_utf8_lossy(&seen).contains("before"), "nothing is sent twice");
}
