//! Comments that only their author sees, over real sockets: everybody else never does, and nothing
//! tells the author.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{Cluster, ReviewItem, Shadow};
use live_comments::protocol::{CommentId, ServerMessage, StreamPosition};
use serde_json::json;

use crate::support::moderation::post;
use crate::support::{Daemon, STREAM, Viewer, history, http, moderated, msgpack};

const SHADOWING: &str =
    "[moderation.rules]\nblocked_words = [\"badword\"]\nblocked_word_action = \"shadow_ban\"\n";
const TROLL: u64 = 42;

/// The same connection in both encodings.
fn forms(options: ViewerOptions) -> [ViewerOptions; 2] {
    [options.clone(), msgpack(options)]
}

fn as_user(daemon: &Daemon, user_id: u64) -> ViewerOptions {
    ViewerOptions { token: Some(daemon.token(user_id, "someone").into()), ..daemon.options() }
}

/// Returns the texts that the history has for a user, oldest first; without a user, those for
/// everybody.
async fn page(daemon: &Daemon, user_id: Option<u64>) -> Vec<String> {
    moderated(daemon).await;
    let token = user_id.map(|user_id| format!("Bearer {}", daemon.token(user_id, "someone")));
    let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
    let path = format!("/api/streams/{STREAM}/comments");
    let (status, body) = http(daemon, "GET", &path, &headers, None).await;
    assert_eq!(status, 200, "{body}");
    let comments = body["comments"].as_array().unwrap().iter().rev();
    comments.map(|comment| comment["message"].as_str().unwrap().to_owned()).collect()
}

/// Returns the texts that a connection with a position is sent up to `seq`, and how many deletions.
async fn resumed(options: &ViewerOptions, start: StreamPosition, seq: u64) -> (Vec<String>, u32) {
    let mut seen = Vec::new();
    for options in forms(options.clone()) {
        let mut late = Viewer::join(ViewerOptions { resume: Some(start), ..options }).await;
        let mut deletions = 0;
        while late.position.seq < seq {
            let message = late.next().await.unwrap();
            deletions += u32::from(matches!(message, ServerMessage::CommentDeleted(_)));
        }
        seen.push((late.texts().iter().map(|text| (*text).to_owned()).collect(), deletions));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "all forms show the same: {seen:?}");
    seen.swap_remove(0)
}

/// Reads up to `seq` and returns which comments were deleted meanwhile.
async fn deleted_until(viewer: &mut Viewer, seq: u64) -> Vec<CommentId> {
    let mut deleted = Vec::new();
    while viewer.position.seq < seq {
        if let ServerMessage::CommentDeleted(deletion) = viewer.next().await.unwrap() {
            deleted.push(deletion.comment_id);
        }
    }
    deleted
}

#[tokio::test]
async fn a_shadow_ban_after_publication_is_not_told() {
    let daemon = Daemon::start(SHADOWING);
    let mut author = daemon.join(TROLL, "troll").await;
    let mut pages = Vec::new();
    for options in forms(as_user(&daemon, TROLL)) {
        pages.push(Viewer::join(options).await);
    }
    let mut others = Vec::new();
    for options in forms(as_user(&daemon, 7)).into_iter().chain(forms(daemon.options())) {
        others.push(Viewer::join(options).await);
    }
    let start = author.position;
    let (bad, _) = author.comment("a badword").await;
    moderated(&daemon).await;
    // In the same batch as a comment that all see, and before one.
    let mut neighbour = daemon.join(8, "neighbour").await;
    let (_, last) = neighbour.comment("hello").await;
    assert_eq!(deleted_until(&mut author, last).await, []);
    for page in &mut pages {
        assert_eq!(deleted_until(page, last).await, []);
        assert_eq!(page.texts(), ["a badword", "hello"]);
        assert!(page.gaps.is_empty());
    }
    assert_eq!(author.texts(), ["a badword", "hello"]);
    for other in &mut others {
        let deleted = deleted_until(other, last).await;
        let was_seen = other.texts().contains(&"a badword");
        assert!(deleted == [bad] || (!was_seen && deleted.len() <= 1), "{deleted:?}");
    }
    let check = async |daemon: &Daemon| {
        let own = resumed(&as_user(daemon, TROLL), start, last).await;
        assert_eq!(own, (vec!["a badword".to_owned(), "hello".to_owned()], 0));
        for options in [as_user(daemon, 7), daemon.options()] {
            assert_eq!(resumed(&options, start, last).await, (vec!["hello".to_owned()], 1));
        }
        assert_eq!(page(daemon, Some(TROLL)).await, ["a badword", "hello"]);
        assert_eq!(page(daemon, Some(7)).await, ["hello"]);
        assert_eq!(page(daemon, None).await, ["hello"]);
        assert_eq!(history(daemon, STREAM).await.len(), 1);
    };
    check(&daemon).await;
    let daemon = daemon.kill_and_restart();
    check(&daemon).await;
    // A deletion for everybody is told to the author, and to nobody that was told before.
    let mut author = daemon.join(TROLL, "troll").await;
    let mut other = daemon.watch().await;
    let mut sender = daemon.join(7, "someone").await;
    post(&daemon, "/v1/delete", json!({"comment_id": bad})).await;
    let deleted = author
        .until(|message| match message {
            ServerMessage::CommentDeleted(deletion) => Some(deletion.comment_id),
            _ => None,
        })
        .await;
    assert_eq!(deleted, bad);
    assert_eq!(page(&daemon, Some(TROLL)).await, ["hello"]);
    let restored = json!({"comment_id": bad});
    post(&daemon, "/v1/mod/restore", restored).await;
    assert_eq!(page(&daemon, None).await, ["a badword", "hello"], "it is for everybody again");
    let (_, last) = sender.comment("later").await;
    assert_eq!(deleted_until(&mut other, last).await, []);
}

#[tokio::test]
async fn a_rejected_comment_of_a_shadowed_user_is_its_own() {
    let daemon = Daemon::start(
        "[moderation.rules]\nblocked_words = [\"oddword\"]\nblocked_word_action = \"flag\"\n",
    );
    post(&daemon, "/v1/shadow", json!({"user": "id:42"})).await;
    let mut author = daemon.join(TROLL, "troll").await;
    let mut other = daemon.watch().await;
    let mut sender = daemon.join(7, "someone").await;
    let (odd, _) = author.comment("an oddword").await;
    moderated(&daemon).await;
    let queue: Cluster<ReviewItem> = daemon.admin().get("/v1/mod/queue").await.unwrap();
    let [item] = &queue.items[..] else { panic!("{queue:?}") };
    assert!(item.shadowed && !item.held, "{item:?}");
    assert_eq!(item.evidence.stage.as_deref(), Some("rules"));
    post(&daemon, "/v1/mod/reject", json!({"comment_id": odd})).await;
    let (_, last) = sender.comment("hello").await;
    assert_eq!(deleted_until(&mut author, last).await, [odd]);
    assert_eq!(deleted_until(&mut other, last).await, []);
    assert_eq!(other.texts(), ["hello"]);
    assert_eq!(page(&daemon, Some(TROLL)).await, ["hello"]);
}

#[tokio::test]
async fn a_shadowed_user_talks_to_itself() {
    let daemon = Daemon::start("");
    let mut author = daemon.join(TROLL, "troll").await;
    let mut second = daemon.join(TROLL, "troll").await;
    let mut viewer = daemon.watch().await;
    let start = viewer.position;
    author.comment("before").await;
    let request = json!({"user": "id:42", "stream_id": STREAM});
    let shadowed = post(&daemon, "/v1/shadow", request).await;
    let listed: Cluster<Shadow> = daemon.admin().get("/v1/shadows").await.unwrap();
    assert_eq!(listed.items.len(), 1);
    author.comment("alone").await;
    // Without a comment of somebody else, the author's pages are shown it as fast.
    let alone = tokio::time::timeout(
        Duration::from_secs(5),
        second.until(|message| {
            let ServerMessage::Comments(batch) = message else { return None };
            assert!(!batch.echo, "a mark that others' comments do not have");
            batch.comments.iter().any(|comment| &*comment.message == "alone").then_some(())
        }),
    );
    alone.await.expect("the other page shows it");
    post(&daemon, "/v1/undo", json!({"audit_id": shadowed.audit_id})).await;
    let (_, last) = author.comment("together").await;
    for own in [&mut author, &mut second] {
        own.until_seq(last).await;
        assert_eq!(own.texts(), ["before", "alone", "together"]);
    }
    viewer.until_seq(last).await;
    assert_eq!(viewer.texts(), ["before", "together"]);
    let all = ["before", "alone", "together"].map(str::to_owned).to_vec();
    let others = ["before", "together"].map(str::to_owned).to_vec();
    let daemon = daemon.kill_and_restart();
    assert_eq!(resumed(&as_user(&daemon, TROLL), start, last).await, (all.clone(), 0));
    assert_eq!(resumed(&as_user(&daemon, 7), start, last).await, (others.clone(), 0));
    assert_eq!(page(&daemon, Some(TROLL)).await, all);
    assert_eq!(page(&daemon, Some(7)).await, others);
}

#[tokio::test]
async fn a_shadow_lasts_over_a_restart_until_lifted() {
    let daemon = Daemon::start("");
    post(&daemon, "/v1/shadow", json!({"user": "id:42"})).await;
    let daemon = daemon.kill_and_restart();
    let mut author = daemon.join(TROLL, "troll").await;
    author.comment("hidden").await;
    assert_eq!(page(&daemon, None).await, [""; 0]);
    let lifted = post(&daemon, "/v1/unshadow", json!({"user": "id:42"})).await;
    author.comment("shown").await;
    assert_eq!(page(&daemon, None).await, ["shown"]);
    post(&daemon, "/v1/undo", json!({"audit_id": lifted.audit_id})).await;
    author.comment("hidden again").await;
    assert_eq!(page(&daemon, Some(TROLL)).await, ["hidden", "shown", "hidden again"]);
    assert_eq!(page(&daemon, Some(7)).await, ["shown"]);
}
