//! Bad input of every kind gets its stable code and leaves the daemon's state unchanged.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

mod admin;
mod frames;
mod positions;
mod requests;
mod texts;
mod tokens;

use live_comments::protocol::Role;

use self::admin::{admin_requests, configurations};
use self::frames::frames_and_messages;
use self::requests::requests;
use self::tokens::tokens;
use crate::support::socket::frame;
use crate::support::{Daemon, STREAM, archived, history, http};

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// Name, method, path, headers, body, expected status and error code.
type RequestCase<'a> =
    (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>, u16, &'a str);

const JSON: &str = "lc.v1.json";
const MSGPACK: &str = "lc.v1.msgpack";

#[tokio::test]
async fn bad_input_gets_its_code_and_changes_nothing() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let (_, seq) = ann.comment("before").await;
    archived(&daemon).await;
    let token = daemon.token_of(6, "eve", Role::Viewer);
    let bans = || async { daemon.admin().get::<serde_json::Value>("/v1/bans").await.unwrap() };
    let streams = || async { http(&daemon, "GET", "/api/streams", &[], None).await };
    let before = (history(&daemon, STREAM).await, bans().await, streams().await);

    let mut count = frames_and_messages(&daemon, &token).await;
    count += tokens(&daemon).await;
    count += requests(&daemon, &token).await;
    count += admin_requests(&daemon).await;
    count += configurations();
    println!("{count} bad inputs refused");
    assert!(count >= 40);

    archived(&daemon).await;
    let after = (history(&daemon, STREAM).await, bans().await, streams().await);
    assert_eq!(before, after);
    let (_, next) = ann.comment("after").await;
    assert_eq!(next, seq + 1, "nothing was appended to the log between");
}
