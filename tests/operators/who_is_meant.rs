//! Users that `lc` is told by name or id: digits that name two people, and notes that stay with the
//! operators.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::time::Duration;

use serde_json::Value;

use crate::support::{self, Daemon, PATIENCE, lc};

#[tokio::test(flavor = "multi_thread")]
async fn digits_that_name_two_people_are_refused() {
    let daemon = Daemon::start("");
    let other = daemon.join(777, "12345").await;
    let meant = daemon.join(12345, "bob").await;
    let who = |user: String| {
        let output = lc(&daemon, &format!("who {user}")).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    // Names are stored a moment after the connection.
    let stored = async {
        while who("name:12345".into()).is_none() || who("name:bob".into()).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.unwrap();
    for command in ["ban", "timeout", "kick", "unban", "dm", "who"] {
        let text = if command == "dm" { " hello" } else { "" };
        let output = lc(&daemon, &format!("{command} 12345{text}")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        for part in ["id:12345", "name:12345", "user 777", "bob"] {
            assert!(said.contains(part), "{command}: {said}");
        }
    }
    for (command, text) in
        [("dm", " hello"), ("timeout", ""), ("kick", ""), ("ban", ""), ("unban", "")]
    {
        for (user, id, name) in [("id:12345", "12345", "bob"), ("name:12345", "777", "12345")] {
            let output = lc(&daemon, &format!("{command} {user}{text}")).output().unwrap();
            let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
            let found = outcome["user_id"].to_string();
            assert_eq!(found.trim_matches('"'), id, "{command} {user}: {outcome}");
            assert_eq!(outcome["user_name"], name, "{command} {user}: {outcome}");
        }
    }
    drop((other, meant));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_does_not_reach_the_banned_person() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.join(66, "eve").await;
    let line = "ban 66 --reason spam --note reported-by-ann@example.org";
    assert!(lc(&daemon, line).output().unwrap().status.success());
    viewer.until_closed().await;
    let token = daemon.token(66, "eve");
    let header = format!("Bearer {token}");
    let (status, body) = support::http(
        &daemon,
        "POST",
        "/api/streams/1/comments",
        &[("authorization", &header)],
        Some("{\"message\":\"let me in\"}"),
    )
    .await;
    let shown = body.to_string();
    assert!(status == 403 && shown.contains("spam"), "{status} {shown}");
    assert!(!shown.contains("reported-by"), "{shown}");
    let audit = lc(&daemon, "audit").output().unwrap();
    assert!(String::from_utf8(audit.stdout).unwrap().contains("reported-by-ann@example.org"));
    let bans = lc(&daemon, "bans").output().unwrap();
    assert!(!String::from_utf8(bans.stdout).unwrap().contains("reported-by"));
}
