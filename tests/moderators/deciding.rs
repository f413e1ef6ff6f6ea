//! Several moderators with `lc`: one of them decides about a comment, and a claim keeps the others
//! out.

#![allow(clippy::unwrap_used)]

use live_comments::protocol::ServerMessage;
use live_comments::protocol::admin::{Cluster, ModerationDecision, Offender, ReviewItem};
use live_comments::protocol::events::Decision;

use crate::support::moderation::{
    HOLD, audit_actions, deletion, errors_of, lc_of, queue_of, rules_only, run_lc_of,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_moderators_at_once_one_decides() {
    let daemon = rules_only(HOLD);
    let mut sender = daemon.join(42, "troll").await;
    let mut viewer = daemon.watch().await;
    for round in 0..5 {
        let (id, _) = sender.comment(&format!("badword {round}")).await;
        queue_of(&daemon, 1).await;
        let id = id.to_string();
        let before = audit_actions(&daemon).await.len();
        let arguments = ["mod", "reject", &id, "--reason", "spam"];
        let running = ["ann", "bob"].map(|name| lc_of(name, &daemon, &arguments).spawn().unwrap());
        let outputs =
            tokio::task::block_in_place(|| running.map(|child| child.wait_with_output().unwrap()));
        let codes = outputs.each_ref().map(|output| output.status.code());
        let failed = outputs.iter().find(|output| !output.status.success());
        let failed = failed.unwrap_or_else(|| panic!("both decided: {codes:?}"));
        assert!(outputs.iter().any(|output| output.status.success()), "{}", errors_of(failed));
        assert_eq!(failed.status.code(), Some(1));
        let text = errors_of(failed);
        assert!(text.contains("was rejected by") && text.contains("review_decided"), "{text}");
        assert_eq!(audit_actions(&daemon).await.len(), before + 1, "one entry");
        assert_eq!(viewer.until(deletion).await.comment_id.to_string(), id);
    }
    // The five deletions, once each: the next thing that everybody sees is a comment.
    let (_, last) = sender.comment("the end").await;
    let mut deletions = 0;
    viewer
        .until(|message| match message {
            ServerMessage::CommentDeleted(_) => {
                deletions += 1;
                None
            }
            ServerMessage::Comments(batch) => (batch.to_seq >= last).then_some(()),
            _ => None,
        })
        .await;
    assert_eq!(deletions, 0, "no comment is deleted twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_moderator_claimed_no_other_decides() {
    let daemon = rules_only(HOLD);
    let mut sender = daemon.join(42, "troll").await;
    let (id, _) = sender.comment("badword").await;
    sender.comment("B A D W O R D").await;
    let items = queue_of(&daemon, 2).await;
    assert_eq!(items.iter().map(|item| item.alike).collect::<Vec<_>>(), [1, 1]);
    let id = id.to_string();

    let claimed = run_lc_of("ann", &daemon, &["mod", "claim", &id, "--json"]);
    assert!(claimed.status.success(), "{}", errors_of(&claimed));
    let claimed: ReviewItem = serde_json::from_slice(&claimed.stdout).unwrap();
    assert!(claimed.claimed_by_you && claimed.claim_expires_at.is_some());
    let daemon = daemon.kill_and_restart();
    for refused in [["mod", "approve", &id], ["mod", "reject", &id], ["mod", "claim", &id]] {
        let output = run_lc_of("bob", &daemon, &refused);
        let text = errors_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("claimed by ann (uid") && text.contains("review_claimed"), "{text}");
    }
    let others = run_lc_of("bob", &daemon, &["mod", "queue", "--json", "--where", "claimed!=-"]);
    let seen: ReviewItem = serde_json::from_slice(&others.stdout).unwrap();
    assert!(!seen.claimed_by_you && seen.comment_id.to_string() == id);

    let released = run_lc_of("ann", &daemon, &["mod", "claim", "--release"]);
    assert!(released.status.success(), "{}", errors_of(&released));
    let decided = run_lc_of("bob", &daemon, &["mod", "reject", &id]);
    assert!(decided.status.success(), "{}", errors_of(&decided));
    assert_eq!(audit_actions(&daemon).await, ["reject", "create_stream"], "a claim is no change");

    let decisions: Cluster<ModerationDecision> =
        daemon.admin().get("/v1/mod/decisions").await.unwrap();
    let [made] = &decisions.items[..] else { panic!("{decisions:?}") };
    assert!(made.decided_by.starts_with("bob (uid"), "{made:?}");
    assert_eq!((made.decision, made.message.as_deref()), (Decision::Reject, Some("badword")));
    let offenders: Cluster<Offender> = daemon.admin().get("/v1/mod/offenders").await.unwrap();
    assert_eq!((offenders.items[0].user_id.0, offenders.items[0].removed), (42, 1));
    for list in ["decisions", "offenders"] {
        let output = run_lc_of("ann", &daemon, &["mod", list, "--where", "user=42", "--json"]);
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "{list}");
    }
}
