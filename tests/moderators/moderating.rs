//! Moderation by rules over real sockets: which comments pass, and who sees the others.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{
    AuditEntry, Cluster, EventItem, ModerationDecision, Offender, Outcome, ReviewItem, Status,
    TextTrial,
};
use live_comments::protocol::events::Decision;
use live_comments::protocol::{
    ClientMessage, CommentId, ErrorCode, Role, ServerMessage, StreamPosition,
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::moderation::{check_before_showing, deletion, queue, queue_of};
use crate::support::{
    self, Daemon, STREAM, StoppedDaemon, Viewer, comment, history, moderated, msgpack,
};

const BLOCKED: &str = "[moderation.rules]\nblocked_words = [\"badword\"]\n";
const HOLD: &str =
    "[moderation.rules]\nblocked_words = [\"badword\"]\nblocked_word_action = \"flag\"\n";

/// Starts a daemon whose comments only the rules check, so that what the model thinks of a text
/// changes nothing.
fn rules_only(config: &str) -> Daemon {
    Daemon::start(&format!("[moderation]\nstages = [\"rules\"]\n{config}"))
}

async fn post(daemon: &Daemon, path: &str, body: serde_json::Value) -> Outcome {
    daemon.admin().post(path, &body).await.unwrap()
}

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

async fn stored_texts(daemon: &Daemon) -> Vec<String> {
    moderated(daemon).await;
    history(daemon, STREAM).await.into_iter().map(|comment| comment.message.to_string()).collect()
}

/// Returns what a viewer sees that connects with a position, up to `seq`.
async fn seen_since(daemon: &Daemon, start: StreamPosition, seq: u64) -> Vec<String> {
    let mut seen = Vec::new();
    for options in [daemon.options(), msgpack(daemon.options())] {
        let mut late = Viewer::join(ViewerOptions { resume: Some(start), ..options }).await;
        late.until_seq(seq).await;
        seen.push(late.texts().iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], seen[1], "both encodings show the same");
    seen.swap_remove(0)
}

#[tokio::test]
async fn a_disguised_blocked_word_is_deleted_for_everybody() {
    let daemon = rules_only(BLOCKED);
    let mut sender = daemon.join(42, "troll").await;
    // The sender's other page: on the first one the deletion may come before the ack.
    let mut other_page = daemon.join(42, "troll").await;
    let mut viewer = daemon.watch().await;
    let mut packed = Viewer::join(msgpack(daemon.options())).await;
    let start = viewer.position;
    let disguises = [
        "badword",
        "a BADWORD!",
        "b4dw0rd",
        "b a d w o r d",
        "b.a.d.w.o.r.d",
        "bаdwоrd",
        "bad\u{200b}word",
        "ｂａｄｗｏｒｄ",
        "baaadwooord",
    ];
    for text in disguises {
        let (id, _) = sender.comment(text).await;
        for viewer in [&mut viewer, &mut packed, &mut other_page] {
            let deleted = viewer.until(deletion).await;
            assert_eq!((deleted.comment_id, &*deleted.reason), (id, "blocked_word"), "{text}");
        }
    }
    let (_, last) = sender.comment("a good word, not bad").await;
    viewer.until_seq(last).await;
    assert_eq!(seen_since(&daemon, start, last).await, ["a good word, not bad"]);
    assert_eq!(stored_texts(&daemon).await, ["a good word, not bad"]);
    let daemon = daemon.kill_and_restart();
    assert_eq!(seen_since(&daemon, start, last).await, ["a good word, not bad"]);
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

#[tokio::test]
async fn links_repeats_and_floods_wait_for_a_moderator() {
    let daemon = rules_only(
        "[moderation.rules]\nlink_action = \"flag\"\nallowed_hosts = [\"example.org\"]\n\
         repeat_action = \"flag\"\nmax_repeats = 2\n\
         flood_action = \"flag\"\nflood_comments = 10\nmax_character_run = 20\n",
    );
    let mut sender = daemon.join(42, "ann").await;
    sender.comment("read https://www.example.org/a").await;
    let (link, _) = sender.comment("buy at http://spam.example.com/x").await;
    let (run, _) = sender.comment(&"a".repeat(20)).await;
    let mut third = None;
    for n in 0..4 {
        let (id, _) = sender.comment("again and again").await;
        if n == 3 {
            third = Some(id);
        }
    }
    moderated(&daemon).await;
    let reasons = |items: &[ReviewItem], id: CommentId| {
        items.iter().find(|item| item.comment_id == id).map(|item| item.reason.clone())
    };
    let items = queue(&daemon).await;
    assert_eq!(reasons(&items, link).as_deref(), Some("link"));
    assert_eq!(reasons(&items, run).as_deref(), Some("character_run"));
    assert_eq!(reasons(&items, third.unwrap()).as_deref(), Some("repeat"));
    assert!(items.iter().all(|item| !item.held), "they are shown meanwhile");

    let mut flooder = daemon.join(43, "bob").await;
    for n in 0..12 {
        flooder.comment(&format!("number {n}")).await;
    }
    moderated(&daemon).await;
    let floods = queue_of(&daemon, items.len() + 2).await;
    assert_eq!(floods.iter().filter(|item| item.reason == "flood").count(), 2, "{floods:?}");

    let mut viewer = daemon.watch().await;
    post(&daemon, "/v1/mod/approve", json!({"comment_id": run})).await;
    post(&daemon, "/v1/mod/reject", json!({"comment_id": link, "reason": "spam"})).await;
    let deleted = viewer.until(deletion).await;
    assert_eq!((deleted.comment_id, &*deleted.reason), (link, "spam"));
    let texts = stored_texts(&daemon).await;
    assert!(texts.contains(&"a".repeat(20)), "approved, it stays");
    assert!(!texts.iter().any(|text| text.contains("spam.example.com")));
}

/// Returns whether a comment is published on a stream that is moderated before showing.
async fn is_published(viewer: &mut Viewer, text: &str, client_ref: &str) -> bool {
    viewer.send(&comment(text, client_ref)).await;
    viewer
        .until(|message| match message {
            ServerMessage::Ack { client_ref: Some(sent), .. } if &**sent == client_ref => {
                Some(true)
            }
            ServerMessage::Error { code, client_ref: Some(sent), .. } if &**sent == client_ref => {
                assert_eq!(*code, ErrorCode::ModerationRejected, "{text:?}");
                Some(false)
            }
            _ => None,
        })
        .await
}

/// Makes each `ref` a new one, also for a user that comes back.
static NEXT_REF: AtomicU32 = AtomicU32::new(0);

/// Sends comments of a user without a rate limit, and checks which are published.
async fn check_published(daemon: &Daemon, user_id: u64, rejected: &[&str], published: &[&str]) {
    let token = daemon.token_with(user_id, "ann", |claims| claims.comments_per_minute = Some(0));
    let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
    let mut viewer = Viewer::join(options).await;
    let expected = rejected.iter().map(|text| (text, false));
    let expected = expected.chain(published.iter().map(|text| (text, true)));
    for (text, is_expected) in expected {
        let client_ref = format!("r{}", NEXT_REF.fetch_add(1, Ordering::Relaxed));
        let found = is_published(&mut viewer, text, &client_ref).await;
        assert_eq!(found, is_expected, "published: {text:?}");
    }
}

#[tokio::test]
async fn links_are_rejected_and_sentences_are_not() {
    let daemon = rules_only(
        "[moderation.rules]\nlink_action = \"reject\"\nallowed_hosts = [\"example.com\"]\n\
         flood_comments = 0\n",
    );
    check_before_showing(&daemon).await;
    let rejected = [
        "https://evil.net,hello",
        "https://evil.net)x",
        "https://example.com,https://evil.net",
        "join👉evil.net",
        "//evil.net/x",
        "discord:discord.gg/abc",
        "evil.uno/x",
        "forms.gle/abc",
        "evil.webcam",
        "加入evil.net吧",
        "https://example.com@evil.net",
        "evil\u{200B}.net",
        "evil dot net",
    ];
    let published = [
        "lol.love this",
        "yes.game on",
        "ok.today we win",
        "https://example.com, and more",
        "(see www.example.com/a.b)",
        "v1.2.3 is out",
        "ann@evil.net",
    ];
    check_published(&daemon, 42, &rejected, &published).await;
}

#[tokio::test]
async fn a_blocked_word_is_no_word_of_another_language() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = "\u{FEFF}*spam*\r\nf#ck\r\n🖕\r\n***\r\n# comment\r\nbadword\r\n";
    std::fs::write(file.path(), lines).unwrap();
    let daemon = rules_only(&format!(
        "[moderation.rules]\nblocked_words = [\"cặc\", \"sik\", \"göt\", \"マンコ\", \"slut\"]\n\
         allowed_words = [\"Slut\", \"ロマンコメディ\"]\nblocked_words_file = {:?}\n\
         flood_comments = 0\n",
        file.path()
    ));
    check_before_showing(&daemon).await;
    let rejected =
        ["cặc", "C.Ặ.C", "s1k", "GÖT", "マンコ", "s1ut", "antispammer", "f#ck", "🖕🏽", "b4dword"];
    let published = [
        "các bạn ơi",
        "sık sık",
        "I got it",
        "マンゴージュース",
        "ロマンコメディ",
        "bra slut",
        "f",
        "fun",
    ];
    check_published(&daemon, 42, &rejected, &published).await;
    let log = daemon.log();
    assert!(
        log.contains("skipped") && log.contains("line_numbers=4"),
        "the bad line is named: {log}"
    );
    assert!(!log.contains("***"), "but not its text");
}

#[tokio::test]
async fn runs_and_repeats_are_counted_as_readers_see_them() {
    let daemon = rules_only(
        "[moderation.rules]\nflood_action = \"reject\"\nmax_character_run = 10\nflood_comments = 0\n\
         repeat_action = \"reject\"\nmax_repeats = 1\n",
    );
    check_before_showing(&daemon).await;
    let hidden = "a\u{200B}".repeat(12);
    let braille = "a\u{2800}".repeat(12);
    let thumbs = "👍🏽".repeat(12);
    let tones = "👍🏽👍🏿".repeat(6);
    let family = "👩‍👩‍👧".repeat(9);
    let runs = [&*hidden, &*braille, &*thumbs, &*tones];
    check_published(&daemon, 42, &runs, &[&family, "10", "100", "1000", "ha ha ha ha"]).await;
    let bids = ["I bid 500", "I bid 5000", "I bid 50000", "+1", "-1", "1"];
    check_published(&daemon, 43, &[], &bids).await;
    check_published(&daemon, 44, &[], &["again", "A g a i n"]).await;
    check_published(&daemon, 44, &["AG\u{200B}AIN!"], &[]).await;
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

/// Prepares `lc` as a moderator of this name runs it.
fn lc_of(name: &str, daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lc"));
    command
        .arg("--socket")
        .arg(daemon.socket())
        .args(arguments)
        .env("USER", name)
        .env_remove("SUDO_USER")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn lc(name: &str, daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = lc_of(name, daemon, arguments);
    tokio::task::block_in_place(|| command.output().unwrap())
}

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn audit_actions(daemon: &Daemon) -> Vec<String> {
    let log: Cluster<AuditEntry> = daemon.admin().get("/v1/audit").await.unwrap();
    log.items.into_iter().map(|entry| entry.action).collect()
}

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

    let claimed = lc("ann", &daemon, &["mod", "claim", &id, "--json"]);
    assert!(claimed.status.success(), "{}", errors_of(&claimed));
    let claimed: ReviewItem = serde_json::from_slice(&claimed.stdout).unwrap();
    assert!(claimed.claimed_by_you && claimed.claim_expires_at.is_some());
    let daemon = daemon.kill_and_restart();
    for refused in [["mod", "approve", &id], ["mod", "reject", &id], ["mod", "claim", &id]] {
        let output = lc("bob", &daemon, &refused);
        let text = errors_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("claimed by ann (uid") && text.contains("review_claimed"), "{text}");
    }
    let others = lc("bob", &daemon, &["mod", "queue", "--json", "--where", "claimed!=-"]);
    let seen: ReviewItem = serde_json::from_slice(&others.stdout).unwrap();
    assert!(!seen.claimed_by_you && seen.comment_id.to_string() == id);

    let released = lc("ann", &daemon, &["mod", "claim", "--release"]);
    assert!(released.status.success(), "{}", errors_of(&released));
    let decided = lc("bob", &daemon, &["mod", "reject", &id]);
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
        let output = lc("ann", &daemon, &["mod", list, "--where", "user=42", "--json"]);
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "{list}");
    }
}

#[tokio::test]
async fn sellers_and_threats_wait_for_a_person() {
    let daemon = rules_only("");
    let mut sender = daemon.join(42, "ann").await;
    let (seller, _) = sender.comment("Best viewers on streamboo .com (remove the space)").await;
    let (threat, _) = sender.comment("k.i.l.l y0urself").await;
    for text in ["see streamboo .com", "Scunthorpe has the best viewers", "kys og kram"] {
        sender.comment(text).await;
    }
    moderated(&daemon).await;
    let items = queue_of(&daemon, 2).await;
    let reasons: Vec<_> = items.iter().map(|item| (item.comment_id, &*item.reason)).collect();
    assert_eq!(reasons, [(seller, "viewer_seller"), (threat, "starter_list")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lc_mod_test_explains_and_counts_nothing() {
    let daemon = rules_only(
        "[moderation.rules]\nblocked_words = [\"badword\"]\nlink_action = \"flag\"\n\
         repeat_action = \"reject\"\nmax_repeats = 1\n",
    );
    let mut sender = daemon.join(42, "ann").await;
    let tried = lc("mod", &daemon, &["mod", "test", "a b4dw0rd at evil . ru", "--json"]);
    assert!(tried.status.success(), "{}", errors_of(&tried));
    let tried: TextTrial = serde_json::from_slice(&tried.stdout).unwrap();
    assert_eq!((tried.decision, tried.reason.as_deref()), (Decision::Reject, Some("blocked_word")));
    let matched: Vec<_> =
        tried.stages[0].rules.iter().map(|rule| rule.matched.as_deref().unwrap()).collect();
    assert_eq!(matched, ["badword", "evil.ru"]);

    let arguments = ["mod", "test", "said again", "--stream", "1", "--user", "42", "--json"];
    let decision = || {
        let tried = lc("mod", &daemon, &arguments);
        assert!(tried.status.success(), "{}", errors_of(&tried));
        serde_json::from_slice::<TextTrial>(&tried.stdout).unwrap().decision
    };
    for _ in 0..5 {
        assert_eq!(decision(), Decision::Accept);
    }
    for _ in 0..2 {
        sender.comment("said again").await;
    }
    assert_eq!(stored_texts(&daemon).await.len(), 2, "the trials were not counted");
    assert_eq!(decision(), Decision::Reject, "a third time would be too often");
    let refused = lc("mod", &daemon, &["mod", "test", "hi", "--stream", "9"]);
    assert_eq!(refused.status.code(), Some(1), "{}", errors_of(&refused));
    let log = daemon.log();
    assert!(!log.contains("b4dw0rd") && !log.contains("said again"), "{log}");
    assert_eq!(audit_actions(&daemon).await, ["create_stream"], "a trial is no change");
}

#[tokio::test]
async fn sighup_reads_the_blocked_words_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "oldword\n").unwrap();
    let daemon = rules_only(&format!(
        "[moderation.rules]\nblocked_words_file = {:?}\nflood_comments = 0\n",
        file.path()
    ));
    check_before_showing(&daemon).await;
    check_published(&daemon, 42, &["oldword"], &["newword"]).await;
    let reloads = async |lines: &[u8], says: &str| {
        std::fs::write(file.path(), lines).unwrap();
        daemon.signal(Signal::SIGHUP);
        let said = async {
            while !daemon.log().contains(says) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(support::PATIENCE, said).await.expect(says);
    };
    reloads(&b"newword\nsecretword\n"[..], "2 words of").await;
    check_published(&daemon, 42, &["newword", "s3cretword"], &["oldword"]).await;
    reloads(&b"***\n\xFF\xFF\n"[..], "nothing in").await;
    check_published(&daemon, 42, &["newword"], &["oldword again"]).await;
    std::fs::remove_file(file.path()).unwrap();
    daemon.signal(Signal::SIGHUP);
    let said = async {
        while !daemon.log().contains("cannot read") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, said).await.expect("it says what is wrong");
    check_published(&daemon, 42, &["newword!"], &["oldword once more"]).await;
    let failures = async || {
        let status: Status = daemon.admin().get("/v1/status").await.unwrap();
        let problems = status.problems.into_iter();
        problems.filter(|it| it.code == "reload_failed").collect::<Vec<_>>()
    };
    let told = failures().await;
    assert!(told.len() == 1 && told[0].text.contains("cannot read"), "{told:?}");
    reloads(&b"newword\nsecretword\nthird\n"[..], "3 words of").await;
    let over = async {
        while !failures().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        loop {
            let events: Cluster<EventItem> = daemon.admin().get("/v1/events").await.unwrap();
            let has = |text: &str| events.items.iter().any(|event| event.text.contains(text));
            if has("reload of moderation.rules failed") && has("3 words of") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, over).await.expect("the problem is over");
    assert!(!daemon.log().contains("secretword"), "no word is in the log");
}
