//! The rules over real sockets: which comments pass, what `lc mod test` says, and lists of words
//! that are read again.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{Cluster, EventItem, ReviewItem, Status, TextTrial};
use live_comments::protocol::events::Decision;
use live_comments::protocol::{CommentId, ErrorCode, ServerMessage};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::moderation::{
    BLOCKED, audit_actions, check_before_showing, deletion, errors_of, post, queue, queue_of,
    rules_only, run_lc_of, seen_since, stored_texts,
};
use crate::support::{self, Daemon, Viewer, comment, moderated, msgpack};

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
    let tried = run_lc_of("mod", &daemon, &["mod", "test", "a b4dw0rd at evil . ru", "--json"]);
    assert!(tried.status.success(), "{}", errors_of(&tried));
    let tried: TextTrial = serde_json::from_slice(&tried.stdout).unwrap();
    assert_eq!((tried.decision, tried.reason.as_deref()), (Decision::Reject, Some("blocked_word")));
    let matched: Vec<_> =
        tried.stages[0].rules.iter().map(|rule| rule.matched.as_deref().unwrap()).collect();
    assert_eq!(matched, ["badword", "evil.ru"]);

    let arguments = ["mod", "test", "said again", "--stream", "1", "--user", "42", "--json"];
    let decision = || {
        let tried = run_lc_of("mod", &daemon, &arguments);
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
    let refused = run_lc_of("mod", &daemon, &["mod", "test", "hi", "--stream", "9"]);
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
