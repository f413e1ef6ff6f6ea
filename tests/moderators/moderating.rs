//! Moderation over real sockets: who sees a comment that is rejected, held or shadowed, also after
//! a return, a kill or a change of the mode.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::Outcome;
use live_comments::protocol::{ClientMessage, ErrorCode, Role, ServerMessage};
use serde_json::json;

use crate::support::moderation::{
    BLOCKED, HOLD, check_before_showing, deletion, post, queue, queue_of, rules_only, seen_since,
    stored_texts,
};
use crate::support::{self, STREAM, StoppedDaemon, Viewer, comment, history, moderated, msgpack};

/// Returns the error sent for a refused comment.
async fn refusal(viewer: &mut Viewer, text: &str) -> ErrorCode {
    viewer.send(&comment(text, text)).await;
    viewer
        .until(|message| match message {
            ServerMessage::Error { code, client_ref, .. }
                if client_ref.as_deref() == Some(text) =>
            {
                Some(*code)
            }
            ServerMessage::Ack { .. } => panic!("`{text}` was accepted"),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_returning_viewer_receives_the_deletion() {
    let daemon = rules_only(HOLD);
    let mut sender = daemon.join(42, "troll").await;
    for options in [daemon.options(), msgpack(daemon.options())] {
        let mut viewer = Viewer::join(options.clone()).await;
        let (id, seq) = sender.comment("badword").await;
        viewer.until_seq(seq).await;
        assert_eq!(viewer.comments.last().unwrap().comment_id, id, "flagged, but shown");
        let position = viewer.position;
        drop(viewer);
        queue_of(&daemon, 1).await;
        post(&daemon, "/v1/mod/reject", json!({"comment_id": id})).await;
        sender.until(deletion).await;
        for _ in 0..100 {
            sender.comment("life goes on").await;
        }
        let resume = Some(position);
        let mut back = Viewer::join(ViewerOptions { resume, ..options }).await;
        let deleted = back.until(deletion).await;
        assert_eq!(deleted.comment_id, id);
    }
}

#[tokio::test]
async fn sync_moderation_never_shows_a_bad_comment() {
    let daemon = rules_only(BLOCKED);
    check_before_showing(&daemon).await;
    let mut sender = daemon.join(42, "troll").await;
    let mut moderator = {
        let token = Some(daemon.token_of(7, "mod", Role::Moderator).into());
        Viewer::join(ViewerOptions { token, ..daemon.options() }).await
    };
    let mut viewer = daemon.watch().await;
    let start = viewer.position;
    assert_eq!(refusal(&mut sender, "badword").await, ErrorCode::ModerationRejected);
    assert_eq!(refusal(&mut sender, "b.a.d.w.o.r.d").await, ErrorCode::ModerationRejected);
    let headers = [("authorization", &*format!("Bearer {}", daemon.token(42, "troll")))];
    let body = Some(r#"{"message":"badword"}"#);
    let (status, body) =
        support::http(&daemon, "POST", "/api/streams/1/comments", &headers, body).await;
    assert_eq!((status, body["code"].as_str()), (422, Some("moderation_rejected")));
    moderator.comment("staff may say badword").await;
    let (_, last) = sender.comment("good").await;
    viewer.until_seq(last).await;
    let expected = ["staff may say badword", "good"];
    assert_eq!(viewer.texts(), expected);
    assert_eq!(seen_since(&daemon, start, last).await, expected);
    assert_eq!(stored_texts(&daemon).await, expected);
    assert!(queue(&daemon).await.is_empty());
}

#[tokio::test]
async fn a_held_comment_is_shown_only_once_approved() {
    let daemon = rules_only(HOLD);
    check_before_showing(&daemon).await;
    let mut sender = daemon.join(42, "ann").await;
    let mut viewer = daemon.watch().await;
    let start = viewer.position;
    assert_eq!(refusal(&mut sender, "badword one").await, ErrorCode::HeldForReview);
    assert_eq!(refusal(&mut sender, "badword two").await, ErrorCode::HeldForReview);
    let held = queue_of(&daemon, 2).await;
    assert!(held.iter().all(|item| item.held && item.reason == "blocked_word"));
    assert_eq!(held[0].message, "badword one");
    assert!(history(&daemon, STREAM).await.is_empty(), "not even history shows it");

    // A crash loses no pending item.
    let daemon = daemon.kill_and_restart();
    while viewer.next().await.is_ok() {}
    let mut viewer = daemon.resume(viewer.position).await;
    let one = held[0].comment_id;
    let two = held[1].comment_id;
    post(&daemon, "/v1/mod/reject", json!({"comment_id": two})).await;
    post(&daemon, "/v1/mod/approve", json!({"comment_id": one})).await;
    let admin = daemon.admin();
    let again = json!({"comment_id": one});
    assert!(admin.post::<_, Outcome>("/v1/mod/approve", &again).await.is_err(), "decided once");
    assert!(queue(&daemon).await.is_empty());
    let (_, last) = daemon.join(43, "bob").await.comment("the end").await;
    viewer.until_seq(last).await;
    assert_eq!(viewer.texts(), ["badword one", "the end"]);
    assert_eq!(viewer.comments[0].user_id.0, 42);
    assert_eq!(seen_since(&daemon, start, last).await, ["badword one", "the end"]);
    assert_eq!(stored_texts(&daemon).await, ["badword one", "the end"]);
}

#[tokio::test]
async fn a_decision_of_the_rules_is_taken_back() {
    let daemon = rules_only(BLOCKED);
    let mut sender = daemon.join(42, "ann").await;
    let start = sender.position;
    let (id, _) = sender.comment("badword, said in another sense").await;
    sender.until(deletion).await;
    sender.comment("a good word").await;
    assert_eq!(stored_texts(&daemon).await, ["a good word"]);
    let request = json!({"comment_id": id, "note": "not meant that way"});
    let restored = post(&daemon, "/v1/mod/restore", request).await;
    assert!(restored.now.unwrap().ends_with("viewers that saw it vanish must reload"));
    let (_, last) = sender.comment("the end").await;
    sender.until_seq(last).await;
    let whole = ["badword, said in another sense", "a good word", "the end"];
    assert_eq!(seen_since(&daemon, start, last).await, whole);
    assert_eq!(stored_texts(&daemon).await, whole);
}

#[tokio::test]
async fn a_rejection_taken_back_waits_for_review_again() {
    let daemon = rules_only(HOLD);
    check_before_showing(&daemon).await;
    let mut sender = daemon.join(42, "ann").await;
    assert_eq!(refusal(&mut sender, "badword").await, ErrorCode::HeldForReview);
    let id = queue_of(&daemon, 1).await[0].comment_id;
    let rejected = post(&daemon, "/v1/mod/reject", json!({"comment_id": id})).await;
    assert!(queue(&daemon).await.is_empty());
    let undone = post(&daemon, "/v1/undo", json!({"audit_id": rejected.audit_id})).await;
    assert_eq!(undone.now.as_deref(), Some("1 comment waits for review again"));
    assert!(history(&daemon, STREAM).await.is_empty(), "still held");
    assert_eq!(queue_of(&daemon, 1).await[0].comment_id, id);
    post(&daemon, "/v1/mod/approve", json!({"comment_id": id})).await;
    assert_eq!(stored_texts(&daemon).await, ["badword"]);
}

#[tokio::test]
async fn a_shadowed_comment_is_its_senders_alone() {
    let daemon = rules_only(
        "[moderation.rules]\nblocked_words = [\"badword\"]\nblocked_word_action = \"shadow_ban\"\n",
    );
    check_before_showing(&daemon).await;
    let mut sender = daemon.join(42, "troll").await;
    let mut viewer = daemon.watch().await;
    let start = viewer.position;
    let (id, _) = sender.comment("badword").await;
    let shown = sender
        .until(|message| match message {
            ServerMessage::Comments(batch) => batch.comments.first().map(|c| c.comment_id),
            _ => None,
        })
        .await;
    assert_eq!(shown, id, "the sender notices nothing");
    let (_, last) = sender.comment("good").await;
    viewer.until_seq(last).await;
    assert_eq!(viewer.texts(), ["good"]);
    assert_eq!(seen_since(&daemon, start, last).await, ["good"]);
    assert_eq!(stored_texts(&daemon).await, ["good"]);
    let daemon = daemon.kill_and_restart();
    assert_eq!(seen_since(&daemon, start, last).await, ["good"], "nor after a restart");
}

/// Removes the position of a consumer, which then starts from the beginning.
fn forget_position(stopped: &StoppedDaemon, group: &str) {
    let position = format!("log/comment_events/{group}.position");
    match std::fs::remove_file(stopped.data_dir().join(position)) {
        // A daemon that was killed early has none to lose.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.unwrap(),
    }
}

/// The moderator loses its position and starts again from the beginning.
#[tokio::test]
async fn comments_that_passed_unchecked_are_checked_later() {
    let daemon = rules_only("");
    let mut viewer = daemon.watch().await;
    let mut sender = daemon.join(42, "troll").await;
    let mut bad = HashSet::new();
    for n in 0..50 {
        bad.insert(sender.comment(&format!("badword {n}")).await.0);
    }
    let (_, last) = sender.comment("good").await;
    viewer.until_seq(last).await;
    assert_eq!(viewer.comments.len(), 51);
    let stopped = daemon.kill();
    forget_position(&stopped, "moderator");
    let daemon = stopped.restart_with(BLOCKED);
    let mut back = daemon.resume(viewer.position).await;
    while !bad.is_empty() {
        let deleted = back.until(deletion).await;
        bad.remove(&deleted.comment_id);
    }
    assert_eq!(stored_texts(&daemon).await, ["good"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_no_comment_unchecked() {
    let mut daemon = rules_only(BLOCKED);
    let start = daemon.watch().await.position;
    let mut good = 0;
    for round in 0_u64..4 {
        let mut sender = daemon.join(42, "troll").await;
        let mut acked = 0;
        for n in 0..400 {
            let text = if n % 4 == 0 { "fine" } else { "badword" };
            sender.send(&comment(&format!("{text} {round}-{n}"), &format!("{round}-{n}"))).await;
        }
        // Each kill happens at another depth of the backlog.
        while acked < 100 * (round + 1) {
            if let ServerMessage::Ack { .. } = sender.next().await.unwrap() {
                acked += 1;
            }
        }
        good += acked;
        daemon = daemon.kill_and_restart();
    }
    assert!(good > 0);
    let (_, last) = daemon.join(43, "ann").await.comment("the end").await;
    let stored = stored_texts(&daemon).await;
    assert!(stored.len() > 100, "{}", stored.len());
    assert!(stored.iter().all(|text| !text.contains("badword")), "{stored:?}");
    let seen = seen_since(&daemon, start, last).await;
    assert_eq!(seen, stored, "who comes late sees what history has");
}

#[tokio::test]
async fn a_stream_may_change_its_mode_while_it_is_live() {
    let daemon = rules_only(BLOCKED);
    post(&daemon, "/v1/streams/1", json!({"moderation": "off"})).await;
    let mut sender = daemon.join(42, "ann").await;
    sender.comment("badword unmoderated").await;
    moderated(&daemon).await;
    check_before_showing(&daemon).await;
    assert_eq!(refusal(&mut sender, "badword checked").await, ErrorCode::ModerationRejected);
    post(&daemon, "/v1/streams/1", json!({"moderation": "async"})).await;
    // The deletion may come before the ack.
    let mut other_page = daemon.join(42, "ann").await;
    let (id, _) = sender.comment("badword published").await;
    assert_eq!(other_page.until(deletion).await.comment_id, id);
    sender.send(&ClientMessage::Ping).await;
    assert_eq!(stored_texts(&daemon).await, ["badword unmoderated"]);
}
