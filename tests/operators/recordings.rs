//! Recording, importing and replaying chat with the real programs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use live_comments::client::TokenSource;
use live_comments::loadgen::recording::{
    self, RecordedComment, RecordedEvent, RecordingReader, RecordingWriter,
};
use live_comments::protocol::UserId;
use live_comments::protocol::admin::{Cluster, StreamStatus, TokenUser};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::terminal::Terminal;
use crate::support::{Daemon, PATIENCE};

const LC: &str = env!("CARGO_BIN_EXE_lc");

fn lc(daemon: Option<&Daemon>, words: &[&str]) -> Command {
    let mut command = Command::new(LC);
    command.args(words);
    if let Some(daemon) = daemon {
        command.arg("--data-dir").arg(daemon.data_dir());
    }
    command
}

/// Imports an export into its own folder.
fn import(export: &Path) -> Value {
    let words = ["import", export.to_str().unwrap()];
    let mut command = lc(None, &words);
    json(&command.current_dir(export.parent().unwrap()).output().unwrap())
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn comment(ts_ms: u64, user: u64, text: &str) -> RecordedComment {
    RecordedComment {
        ts_ms,
        id: None,
        user: format!("user{user}").into(),
        user_id: None,
        user_key: None,
        text: text.into(),
        moderation: None,
        moderation_s: None,
    }
}

/// Writes phases of so many seconds at so many comments per second, of 40 users.
fn write_phases(path: &Path, phases: &[(u64, u64)]) {
    let mut writer = RecordingWriter::create(path).unwrap();
    let mut start_ms = 0;
    let mut number = 0;
    for &(seconds, per_second) in phases {
        for n in 0..seconds * per_second {
            let text = format!("comment number {number} of this recording");
            writer.write(&comment(start_ms + n * 1_000 / per_second, number % 40, &text)).unwrap();
            number += 1;
        }
        start_ms += seconds * 1_000;
    }
    writer.finish().unwrap();
}

async fn stream(daemon: &Daemon) -> StreamStatus {
    let streams: Cluster<StreamStatus> = daemon.admin().get("/v1/streams").await.unwrap();
    streams.items.into_iter().find(|stream| stream.stream_id.0 == 1).expect("stream 1")
}

async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it happens in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_if_agrees_with_a_live_replay() {
    let daemon = Daemon::start(
        "[broadcast]\nthrottle = [\n\
         { from_per_second = 0, sample_rate = 1.0 },\n\
         { from_per_second = 100, sample_rate = 0.25 },\n\
         { from_per_second = 450, sample_rate = 0.05 },\n]\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.lcr");
    write_phases(&path, &[(8, 40), (25, 300), (25, 600), (12, 20)]);
    let file = path.to_str().unwrap();
    let settings = "throttle=0:all,100:25%,450:5%";
    let what_if = ["replay", file, "--what-if", settings, "--viewers", "400k"];
    let computed = json(&lc(None, &what_if).output().unwrap());
    let replayed = json(&lc(Some(&daemon), &["replay", file]).output().unwrap());
    assert_eq!(replayed["acked"], computed["comments"], "{replayed}");
    let comments = computed["comments"].as_u64().unwrap();
    let live = until(async || {
        let live = stream(&daemon).await;
        (live.received == comments).then_some(live)
    })
    .await;
    let expected = computed["would_be"]["sampled_out"].as_u64().unwrap();
    let difference = live.sampled_out as f64 / expected as f64 - 1.0;
    println!("left out: {expected} computed, {} live, {:.2} %", live.sampled_out, difference * 1e2);
    assert!(difference.abs() < 0.01, "{expected} computed, {} live", live.sampled_out);
    let shown = computed["would_be"]["shown"].as_u64().unwrap();
    assert_eq!(shown + expected, comments);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_has_deletions_and_the_throttle() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.lcr");
    let file = path.to_str().unwrap();
    let mut recorder = lc(Some(&daemon), &["record", "1", "--output", file]);
    let mut recorder = recorder.stderr(Stdio::null()).spawn().unwrap();
    let mut ann = daemon.join(42, "ann").await;
    let mut other = daemon.join(43, "ann").await;
    // Recorded from the first comment that the tail sees.
    until(async || {
        ann.comment("is it on?").await;
        recording::read(&path).ok()
    })
    .await;
    assert!(lc(Some(&daemon), &["throttle", "1", "25%"]).status().unwrap().success());
    let (said, _) = other.comment("the same name").await;
    let said = said.to_string();
    assert!(lc(Some(&daemon), &["delete", &said]).status().unwrap().success());
    let is_complete = || {
        let mut reader = RecordingReader::open(&path).ok()?;
        let events: Vec<_> = std::iter::from_fn(|| reader.next_event().ok().flatten()).collect();
        let throttled = events.iter().any(|event| {
            matches!(event, RecordedEvent::Throttle(t)
            if t.fixed && t.sample_rate.share() == 0.25)
        });
        let deleted = events.iter().any(|event| {
            matches!(event, RecordedEvent::Deletion(d)
            if *d.id == *said)
        });
        (throttled && deleted).then_some(())
    };
    until(async || is_complete()).await;
    kill(Pid::from_raw(recorder.id() as i32), Signal::SIGTERM).unwrap();
    assert!(recorder.wait().unwrap().success());
    let recorded = recording::read(&path).unwrap();
    assert_eq!(recorded.torn, None);
    let users: std::collections::BTreeSet<_> =
        recorded.comments.iter().map(|comment| comment.user_id.unwrap().0).collect();
    assert_eq!(users, [42, 43].into(), "two people of one name");
    let again = json(&lc(Some(&daemon), &["replay", file, "--asap"]).output().unwrap());
    assert_eq!(again["acked"].as_u64(), Some(recorded.comments.len() as u64));
    assert_eq!(again["users"], 2);
    let deleted = serde_json::json!({"deleted": 1, "without_comment": 0, "failed": 0});
    assert_eq!(again["deletions"], deleted, "as it was recorded");
    let mut reader = RecordingReader::open(&path).unwrap();
    let Some(RecordedEvent::Header(header)) = reader.next_event().unwrap() else {
        panic!("no header")
    };
    assert_eq!(header.rules.unwrap().hysteresis, 0.8, "of the daemon that was recorded");
}

/// Writes recorded chat as chat-downloader does, and removes each fiftieth comment three minutes
/// later. Returns the numbers of comments and of removals.
fn write_export(recorded: &Path, export: &Path) -> (u64, u64) {
    let comments = recording::read(recorded).unwrap().comments;
    let mut items = Vec::new();
    for (number, comment) in comments.iter().enumerate() {
        items.push(serde_json::json!({
            "action_type": "add_chat_message",
            "author": { "id": format!("UC{}", comment.user), "name": comment.user },
            "message": comment.text,
            "message_id": format!("m{number}"),
            "message_type": "text_message",
            "time_in_seconds": comment.ts_ms as f64 / 1e3,
        }));
    }
    let removed: Vec<_> = (0..comments.len()).step_by(50).collect();
    for number in &removed {
        items.push(serde_json::json!({
            "action_type": "remove_chat_item",
            "target_message_id": format!("m{number}"),
            "message_type": "removed",
            "time_in_seconds": comments[*number].ts_ms as f64 / 1e3 + 180.0,
        }));
    }
    std::fs::write(export, serde_json::Value::from(items).to_string()).unwrap();
    (comments.len() as u64, removed.len() as u64)
}

/// One comment in a hundred is shown, so that the chance by which a comment is in the sample moves
/// the number of the others by far less than one percent.
#[tokio::test(flavor = "multi_thread")]
async fn what_if_agrees_with_a_fast_replayed_import() {
    let daemon = Daemon::start(
        "[broadcast]\nthrottle = [\n\
         { from_per_second = 0, sample_rate = 1.0 },\n\
         { from_per_second = 20, sample_rate = 0.01 },\n]\n\
         [moderation]\nstages = [\"rules\"]\n",
    );
    let config = daemon.data_dir().with_file_name("lcd.toml");
    let directory = tempfile::tempdir().unwrap();
    let export = directory.path().join("chat.json");
    let chat = "fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz";
    let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join(chat);
    let (comments, removals) = write_export(&chat, &export);
    let imported = import(&export);
    assert_eq!(imported["comments"], comments);
    assert_eq!(imported["deletions"], removals);
    let file = directory.path().join("chat.lcr");
    let file = file.to_str().unwrap();
    let speed = ["--times", "60"];
    let what_if = ["replay", file, "--what-if", "--config", config.to_str().unwrap()];
    let computed = json(&lc(None, &[&what_if[..], &speed].concat()).output().unwrap());
    assert_eq!(computed["settings"][0]["value"], "0:all,20:1%");
    let replayed = lc(Some(&daemon), &[&["replay", file][..], &speed].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&replayed.stderr).into_owned();
    assert!(said.lines().any(|line| line.contains("×60")), "progress is told in lines: {said}");
    let replayed = json(&replayed);
    assert_eq!(replayed["acked"], comments, "{replayed}");
    let deleted = serde_json::json!({"deleted": removals, "without_comment": 0, "failed": 0});
    assert_eq!(replayed["deletions"], deleted);
    let live = until(async || {
        let live = stream(&daemon).await;
        (live.received == comments && live.deleted == removals).then_some(live)
    })
    .await;
    let expected = computed["would_be"]["sampled_out"].as_u64().unwrap();
    let difference = live.sampled_out as f64 / expected as f64 - 1.0;
    println!("left out: {expected} computed, {} live, {:.2} %", live.sampled_out, difference * 1e2);
    assert!(difference.abs() < 0.01, "{expected} computed, {} live", live.sampled_out);
}

/// Writes lines as a recording.
fn write_lines(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.join("\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_was_fixed_is_fixed_again() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    let mut lines = vec![r#"{"ts_ms":0,"throttle":0,"fixed":true}"#.to_owned()];
    // The throttle takes the setting over within a tick.
    let line = |n| format!(r#"{{"ts_ms":{},"user":"ann","text":"hidden {n}"}}"#, 2_000 + n * 10);
    lines.extend((0..50).map(line));
    lines.push(r#"{"ts_ms":9000,"deleted":"before the recording"}"#.to_owned());
    write_lines(&path, &lines);
    let file = path.to_str().unwrap();
    let replayed = lc(Some(&daemon), &["replay", file, "--throttle"]).output().unwrap();
    let replayed = json(&replayed);
    assert_eq!(replayed["deletions"]["without_comment"], 1);
    let live = until(async || {
        let live = stream(&daemon).await;
        (live.received == 50 && live.throttle_override.is_none()).then_some(live)
    })
    .await;
    assert_eq!(live.sampled_out, 50, "and the stream is as before: {live:?}");
    let untold = lc(Some(&daemon), &["replay", file, "--asap"]).output().unwrap();
    assert!(String::from_utf8_lossy(&untold.stderr).contains("--throttle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_be_whole_says_why() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.jsonl");
    write_lines(
        &path,
        &[
            r#"{"ts_ms":0,"id":"a","user":"ann","text":"hi"}"#.to_owned(),
            r#"{"ts_ms":5,"deleted":"a"}"#.to_owned(),
        ],
    );
    let export = directory.path().join("export.json");
    std::fs::write(&export, "[{\"message\":\"hi\"}]").unwrap();
    let file = path.to_str().unwrap();
    let nowhere = directory.path().join("nowhere");
    let key = daemon.data_dir().join("signing.key");
    let url = format!("ws://{}", daemon.address);
    let remote = ["replay", file, "--url", &url, "--signing-key", key.to_str().unwrap()];
    let elsewhere = ["replay", file, "--data-dir", nowhere.to_str().unwrap()];
    let refused = "--throttle needs the admin socket";
    for (daemon, line, code, problem) in [
        (Some(&daemon), &["replay", file, "--stream", "77"][..], 1, "stream 77 does not exist"),
        (Some(&daemon), &["replay", export.to_str().unwrap()], 1, "lc import"),
        (Some(&daemon), &["replay", file, file, "--throttle"], 64, "one FILE"),
        (Some(&daemon), &["replay", "--what-if", file], 64, "files before --what-if"),
        (None, &elsewhere, 69, "no way to make tokens"),
        (None, &[&remote[..], &["--throttle"]].concat(), 1, refused),
        (None, &remote, 0, "left out: 1 deletion"),
    ] {
        let output = lc(daemon, line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
        assert!(said.contains(problem), "{line:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_and_replayed() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    let export = directory.path().join("chat.json");
    let items: Vec<String> = (0..500)
        .map(|n| {
            format!(
                "{{\"action_type\":\"add_chat_message\",\"author\":{{\"id\":\"UC{}\",\"name\":\
                 \"Same\"}},\"message\":\"text {n}\",\"message_id\":\"m{n}\",\"time_in_seconds\":{}}}",
                n % 7,
                n * 60
            )
        })
        .collect();
    std::fs::write(&export, format!("[\n{}\n]", items.join(",\n"))).unwrap();
    let imported = import(&export);
    assert_eq!((&imported["comments"], &imported["users"]), (&500.into(), &7.into()));
    let recorded = directory.path().join("chat.lcr");
    let written = imported["output"].as_str().unwrap();
    assert_eq!(Path::new(written).canonicalize().unwrap(), recorded.canonicalize().unwrap());
    let file = recorded.to_str().unwrap();
    let whole = json(&lc(Some(&daemon), &["replay", file, "--asap"]).output().unwrap());
    assert_eq!((&whole["acked"], &whole["users"]), (&500.into(), &7.into()));
    let part = ["replay", file, file, "--asap", "--from", "1h", "--to", "2h", "--seed", "3"];
    let part = json(&lc(Some(&daemon), &part).output().unwrap());
    assert_eq!((&part["acked"], &part["users"]), (&120.into(), &14.into()), "twice sixty minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_steer_a_replay_and_leave_the_terminal() {
    let daemon = Daemon::start("");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.lcr");
    let mut writer = RecordingWriter::create(&path).unwrap();
    for n in 0..3_600 {
        writer.write(&comment(n * 1_000, n % 3, &format!("second {n}"))).unwrap();
    }
    writer.finish().unwrap();
    let command = pty_process::blocking::Command::new(LC).arg("replay").arg(&path);
    let command = command.arg("--data-dir").arg(daemon.data_dir());
    tokio::task::block_in_place(|| {
        let mut replay = Terminal::run(command, 24, 160);
        replay.until_shows("of 59:59 ×1 ");
        assert!(replay.changes().contains(&"local modes"), "keys are read one by one");
        replay.press(" ");
        replay.until_shows("paused");
        replay.press("\x1b[6~");
        replay.until_shows("01:0");
        replay.press("+");
        replay.press(" ");
        replay.until_shows("×1.25");
        // Ctrl-C, as the terminal makes of it a signal.
        replay.press("\x03");
        replay.until_shows("posted in");
        assert!(replay.wait().success());
        replay.assert_restored("after Ctrl-C");
    });
}

/// The users of a large recording get their tokens with one request, which is one audit entry.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_recording_are_one_entry() {
    let daemon = Daemon::start("");
    let source = TokenSource::find(&daemon.socket(), &daemon.data_dir()).await.unwrap();
    let name = "\u{1F525}".repeat(64);
    let user = |id| TokenUser { user_id: UserId(id), name: name.clone() };
    let tokens = source.of_users((1..=10_000).map(user).collect()).await.unwrap();
    assert_eq!(tokens.len(), 10_000);
    let audit = lc(Some(&daemon), &["audit"]).output().unwrap();
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert_eq!(audit.lines().filter(|line| line.contains("\"token\"")).count(), 1, "{audit}");
}
