//! A moderator that is killed and comes back, beside an edge, a coordinator and an archiver on real
//! servers: what is shown meanwhile, and what becomes of it, by the choice of the room.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{Cluster as Answer, Outcome, ReviewItem, TopSnapshot};
use live_comments::protocol::{ErrorCode, ServerMessage};
use serde_json::json;
use support::cluster::{Cluster, NodeRoles, Shape};
use support::{PATIENCE, Viewer, comment, history_becomes};

const NODES: [NodeRoles; 4] = [
    ("edge-1", &["edge"]),
    ("coordinator-1", &["coordinator"]),
    ("moderator-1", &["moderator"]),
    ("archiver-1", &["archiver"]),
];
/// A node counts as dead after 4 s; a busy machine gets more.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
const RECOVERED_WITHIN: Duration = Duration::from_secs(90);

fn says(top: &TopSnapshot, text: &str) -> bool {
    top.problems.iter().any(|problem| problem.contains(text))
}

async fn start(name: &str, down: &str) -> Cluster {
    let cluster = Cluster::start_nodes(name, Shape::default(), &NODES);
    let change = json!({"checks": {"down": down}});
    let _: Outcome = cluster.admin("edge-1").post("/v1/streams/1/room", &change).await.unwrap();
    let is_up = |top: &TopSnapshot| !says(top, "role moderator");
    cluster.until_top("edge-1", "the moderator is seen", NOTICED_WITHIN, is_up).await;
    cluster
}

async fn join(cluster: &Cluster, user_id: u64, name: &str) -> Viewer {
    let token = Some(cluster.token(user_id, name).into());
    Viewer::join(ViewerOptions { token, ..cluster.node("edge-1").options() }).await
}

async fn kill_moderator(cluster: &mut Cluster, effect: &str) {
    cluster.kill("moderator-1");
    let is_told = |top: &TopSnapshot| says(top, effect) && says(top, "began");
    let after = cluster.until_top("edge-1", effect, NOTICED_WITHIN, is_told).await;
    println!("told after {after:?}");
}

async fn queue(cluster: &Cluster) -> Vec<ReviewItem> {
    let admin = cluster.admin("edge-1");
    let queue: Answer<ReviewItem> = admin.get("/v1/mod/queue?limit=1000").await.unwrap();
    queue.items
}

/// Sends a comment. Returns the code of the error that it is answered with.
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

fn texts(from: usize, to: usize) -> impl Iterator<Item = String> {
    let text = |n: usize| if n.is_multiple_of(5) { "forbiddenword" } else { "fine" };
    (from..to).map(move |n| format!("{} {n}", text(n)))
}

fn good(from: usize, to: usize) -> Vec<String> {
    texts(from, to).filter(|text| text.starts_with("fine")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn held_comments_are_shown_once_checked() {
    let mut cluster = start("held", "hold").await;
    let mut viewer = join(&cluster, 43, "ben").await;
    let mut sender = join(&cluster, 42, "ann").await;
    assert_eq!(answer(&mut sender, "before").await, None);
    kill_moderator(&mut cluster, "held for review").await;
    for text in texts(0, 100) {
        assert_eq!(answer(&mut sender, &text).await, Some(ErrorCode::HeldForReview), "{text}");
    }
    assert_eq!(queue(&cluster).await.len(), 100);
    let read = async {
        loop {
            viewer.next().await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), read).await.is_err());
    assert_eq!(viewer.texts(), ["before"], "nothing unchecked is shown");

    // Killed while it releases what was held: the rest comes when it is back, and nothing twice.
    cluster.restart("moderator-1");
    let released = async {
        while viewer.texts().len() < 3 {
            let _ = viewer.next().await.unwrap();
        }
    };
    tokio::time::timeout(RECOVERED_WITHIN, released).await.expect("it releases what was held");
    cluster.kill("moderator-1");
    // The queue that a node shows is up to a second old.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = queue(&cluster).await.len();
    println!("{left} of 100 comments waited when the moderator was killed");
    assert!((1..100).contains(&left), "killed while it released: {left}");
    cluster.restart("moderator-1");
    let is_over = |top: &TopSnapshot| !says(top, "held for review");
    cluster.until_top("edge-1", "it is back", RECOVERED_WITHIN, is_over).await;
    let mut expected = vec!["before".to_owned()];
    expected.extend(good(0, 100));
    let seen = async {
        while viewer.texts().len() < expected.len() {
            let _ = viewer.next().await.unwrap();
        }
    };
    tokio::time::timeout(RECOVERED_WITHIN, seen).await.expect("all good comments are shown");
    assert_eq!(viewer.texts(), expected, "in order, once, and nothing that a rule rejects");
    history_becomes(cluster.node("edge-1"), &expected).await;
    assert!(queue(&cluster).await.is_empty());
    assert_eq!(answer(&mut sender, "after").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn passed_comments_are_checked_afterwards() {
    let mut cluster = start("passed", "pass").await;
    let mut viewer = join(&cluster, 43, "ben").await;
    let mut sender = join(&cluster, 42, "ann").await;
    assert_eq!(answer(&mut sender, "before").await, None);
    kill_moderator(&mut cluster, "shown unchecked").await;
    for text in texts(0, 20) {
        assert_eq!(answer(&mut sender, &text).await, None, "{text}");
    }
    let shown = async {
        while viewer.texts().len() < 21 {
            let _ = viewer.next().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("all are shown meanwhile");
    cluster.restart("moderator-1");
    for _ in 0..4 {
        viewer
            .until(|message| match message {
                ServerMessage::CommentDeleted(deletion) => Some(deletion.comment_id),
                _ => None,
            })
            .await;
    }
    let mut expected = vec!["before".to_owned()];
    expected.extend(good(0, 20));
    history_becomes(cluster.node("edge-1"), &expected).await;
    let is_over = |top: &TopSnapshot| !says(top, "shown unchecked");
    cluster.until_top("edge-1", "it is back", RECOVERED_WITHIN, is_over).await;
}
