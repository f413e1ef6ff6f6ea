//! Comments that are held, over real sockets: the settings of a room's checks, and approvals that a
//! kill interrupts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::time::Duration;

use live_comments::protocol::admin::{Outcome, Room};
use live_comments::protocol::room::{WhenDown, WhenLate};
use live_comments::protocol::{CommentId, ErrorCode, ServerMessage};
use serde_json::json;

use crate::support::moderation::{HOLD, check_before_showing, post, queue, queue_of};
use crate::support::{Daemon, STREAM, Viewer, archived, comment, history, history_texts};

/// Comments of the test with kills.
const HELD: usize = 24;

async fn room(daemon: &Daemon) -> Room {
    daemon.admin().get("/v1/streams/1/room").await.unwrap()
}

/// Sends a comment and returns the code with which it is answered, `None` for an ack.
async fn answer(viewer: &mut Viewer, text: &str) -> Option<ErrorCode> {
    viewer.send(&comment(text, text)).await;
    viewer
        .until(|message| match message {
            ServerMessage::Error { code, client_ref, .. }
                if client_ref.as_deref() == Some(text) =>
            {
                Some(Some(*code))
            }
            ServerMessage::Ack { client_ref, .. } if client_ref.as_deref() == Some(text) => {
                Some(None)
            }
            _ => None,
        })
        .await
}

#[tokio::test]
async fn the_checks_of_a_room_are_kept_and_undone() {
    let daemon = Daemon::start("");
    let change = json!({"checks": {"deadline_ms": 900, "late": "refuse", "down": "hold"}});
    post(&daemon, "/v1/streams/1/room", change).await;
    let second = post(&daemon, "/v1/streams/1/room", json!({"checks": {"late": "pass"}})).await;
    let daemon = daemon.kill_and_restart();
    let checks = room(&daemon).await.settings.checks;
    assert_eq!((checks.deadline_ms, checks.late), (Some(900), WhenLate::Pass));
    post(&daemon, "/v1/undo", json!({"audit_id": second.audit_id})).await;
    let checks = room(&daemon).await.settings.checks;
    assert_eq!((checks.late, checks.down), (WhenLate::Refuse, WhenDown::Hold));
    assert!(room(&daemon).await.in_force.is_open(), "viewers are told nothing");
    let bad = json!({"checks": {"deadline_ms": 20}});
    let refused: Result<Outcome, _> = daemon.admin().post("/v1/streams/1/room", &bad).await;
    assert!(refused.unwrap_err().to_string().contains("checks.deadline_ms"));
}

#[tokio::test]
async fn a_checked_stream_keeps_the_order_of_comments() {
    let daemon = Daemon::start(HOLD);
    check_before_showing(&daemon).await;
    let mut sender = daemon.join(42, "ann").await;
    let texts: Vec<_> = (0..300).map(|n| format!("number {n}")).collect();
    for text in &texts {
        sender.send(&comment(text, text)).await;
        if text.ends_with('7') {
            sender.send(&comment("badword", &format!("held {text}"))).await;
        }
    }
    let mut acked = 0;
    let mut held = 0;
    while acked < texts.len() || held < 30 {
        match sender.next().await.unwrap() {
            ServerMessage::Ack { .. } => acked += 1,
            ServerMessage::Error { code, .. } => {
                assert_eq!(code, ErrorCode::HeldForReview);
                held += 1;
            }
            _ => {}
        }
    }
    archived(&daemon).await;
    assert_eq!(history_texts(&daemon).await, texts);
    queue_of(&daemon, 30).await;
}

/// Kills the daemon while it approves held comments, each time at another moment. What was decided
/// is published once, what was not still waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_during_approval_loses_no_comment() {
    let mut daemon = Daemon::start(HOLD);
    check_before_showing(&daemon).await;
    let mut sender = daemon.join(42, "ann").await;
    let mut texts = HashSet::new();
    for n in 0..HELD {
        let text = format!("badword {n}");
        assert_eq!(answer(&mut sender, &text).await, Some(ErrorCode::HeldForReview));
        texts.insert(text);
    }
    let mut interrupted = 0;
    let mut delay = Duration::ZERO;
    for _ in 0..HELD {
        let waiting = queue(&daemon).await;
        let Some(item) = waiting.first() else { break };
        let comment_id: CommentId = item.comment_id;
        let admin = daemon.admin();
        let approval = tokio::spawn(async move {
            let request = json!({ "comment_id": comment_id });
            let approved: Result<Outcome, _> = admin.post("/v1/mod/approve", &request).await;
            approved.is_ok()
        });
        // The timers of tokio are not exact enough; other threads run the approval.
        std::thread::sleep(delay);
        daemon = daemon.kill_and_restart();
        // Later while the kill interrupts, from before the transaction to after the append; sooner
        // once an approval was answered before, so that later kills come near its end.
        if approval.await.unwrap() {
            delay /= 2;
        } else {
            // Without a delay the request may not have been sent.
            interrupted += usize::from(!delay.is_zero());
            delay += Duration::from_micros(400);
        }
    }
    println!("{interrupted} approvals were interrupted");
    assert!(interrupted > 0, "the kills came after the approvals");
    for item in queue(&daemon).await {
        post(&daemon, "/v1/mod/approve", json!({"comment_id": item.comment_id})).await;
    }
    // A decided comment whose event is not in the log yet is appended within 15 s.
    let published = async {
        loop {
            archived(&daemon).await;
            let stored = history(&daemon, STREAM).await;
            if stored.len() >= HELD {
                return stored;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let stored = tokio::time::timeout(Duration::from_secs(60), published).await.expect("all");
    let shown: Vec<_> = stored.iter().map(|one| one.message.to_string()).collect();
    assert_eq!(shown.len(), HELD, "each once: {shown:?}");
    assert_eq!(shown.into_iter().collect::<HashSet<_>>(), texts);
}
