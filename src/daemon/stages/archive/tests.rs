//! The archiver on a log and a store in memory with paused time, and on SQLite where the promise is
//! about both.

use tokio::task::JoinHandle;

use super::*;
use crate::daemon::base::clock::SystemClock;
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::comments::conformance::{comment, comment_id, shown, tombstone};
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::comments::sqlite::SqliteComments;
use crate::daemon::engines::comments::{Archived, ArchivedDeletion, CommentStore as _};
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::embedded::EmbeddedLog;
use crate::daemon::engines::eventlog::{
    ConsumerGroup, EventLog, LogTelemetry, NewRecord, Position,
};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::admin::BreakerState;
use crate::protocol::events::{
    CommentModerated, CommentRestored, CommentSubmitted, Decision, Event,
};
use crate::protocol::{Comment, Role, StreamId, UserId};

const STREAM: StreamId = StreamId(7);

struct ArchiveTest {
    log: InMemoryLog,
    store: Arc<InMemoryComments>,
    archiver: Archiver,
    stop: CancellationToken,
}

fn setup() -> ArchiveTest {
    let log = InMemoryLog::shaped(1, 0);
    let store = Arc::new(InMemoryComments::default());
    let archiver = archiver(&log, store.clone());
    ArchiveTest { log, store, archiver, stop: CancellationToken::new() }
}

fn archiver(log: &InMemoryLog, store: SharedCommentStore) -> Archiver {
    Archiver {
        log: Arc::new(log.clone()),
        store,
        breaker: Arc::new(Breaker::new("comment store")),
        metrics: Metrics::default(),
        meter: Arc::default(),
        problems: Problems::default(),
        config: StoreConfig { archive_batch: 100, ..StoreConfig::default() },
        clock: Arc::new(SystemClock),
    }
}

impl ArchiveTest {
    fn start(&self) -> JoinHandle<Result<(), ArchiveError>> {
        tokio::spawn(self.archiver.clone().run(self.stop.clone()))
    }

    async fn append(&self, payloads: impl IntoIterator<Item = Vec<u8>>) {
        append(&self.log, payloads).await;
    }

    /// Appends comments, and runs the archiver until it has committed them.
    async fn archive_and_stop(&self, comments: u64) {
        self.append((0..comments).map(submitted)).await;
        let running = self.start();
        self.committed_to(comments).await;
        self.stop.cancel();
        running.await.unwrap().unwrap();
    }

    fn committed_now(&self) -> Option<u64> {
        self.log.committed_offset(Topic::CommentEvents, ConsumerGroup::Archiver)
    }

    async fn committed_to(&self, offset: u64) {
        self.log.wait_for_commit(Topic::CommentEvents, ConsumerGroup::Archiver, offset).await;
    }
}

async fn append(log: &dyn EventLog, payloads: impl IntoIterator<Item = Vec<u8>>) {
    let record = |payload: Vec<u8>| NewRecord { key: 7, timestamp_ms: 1, payload: payload.into() };
    let records = payloads.into_iter().map(record).collect();
    log.append(Topic::CommentEvents, records).await.unwrap();
}

fn submitted(number: u64) -> Vec<u8> {
    let comment = comment(STREAM, number).comment;
    let event = CommentSubmitted {
        comment,
        role: Role::Viewer,
        client_ref: None,
        shadow: number == 3,
        screened: false,
    };
    Event::CommentSubmitted(event).encode()
}

fn moderated(number: u64, decision: Decision) -> Vec<u8> {
    Event::CommentModerated(CommentModerated {
        stream_id: STREAM,
        comment_id: comment_id(number),
        user_id: UserId(1),
        decision,
        reason: "blocked_word".into(),
        timestamp: 1234,
        decided_by: "rules".into(),
        text: None,
        was_hidden: false,
        in_bulk: false,
    })
    .encode()
}

fn restored(number: u64) -> Vec<u8> {
    Event::CommentRestored(CommentRestored {
        stream_id: STREAM,
        comment_id: comment_id(number),
        user_id: UserId(1),
        reason: None,
        timestamp: 1235,
        restored_by: "ann".into(),
        stays_hidden: false,
    })
    .encode()
}

#[tokio::test(start_paused = true)]
async fn full_batches_go_at_once_the_rest_after_a_while() {
    let test = setup();
    test.append((0..250).map(submitted)).await;
    let started = Instant::now();
    test.start();
    test.committed_to(200).await;
    assert_eq!(started.elapsed(), Duration::ZERO, "full batches do not wait");
    test.committed_to(250).await;
    let waited = started.elapsed();
    let interval = test.archiver.config.archive_interval;
    assert!((interval..interval * 2).contains(&waited), "{waited:?}");
    assert_eq!(test.store.batch_sizes(), [100, 100, 50]);
    assert_eq!(
        test.store.seqs_written(),
        (0..250).collect::<Vec<_>>(),
        "the sequence is the offset"
    );
    assert_eq!(test.archiver.metrics.comments_archived.get(), 250);
    let shadowed: Vec<_> = test.store.written().into_iter().filter(|c| c.shadow).collect();
    assert_eq!(shadowed.iter().map(|comment| comment.seq).collect::<Vec<_>>(), [3]);
}

#[tokio::test(start_paused = true)]
async fn decisions_that_delete_become_tombstones() {
    let test = setup();
    let decisions = [Decision::Accept, Decision::Reject, Decision::ShadowBan, Decision::Flag];
    test.append((0..4).map(submitted)).await;
    test.append((0..4).zip(decisions).map(|(number, decision)| moderated(number, decision))).await;
    test.start();
    test.committed_to(8).await;
    let tombstones = test.store.tombstones();
    let deleted: Vec<_> = tombstones.iter().map(|tombstone| tombstone.comment_id).collect();
    assert_eq!(deleted, [comment_id(1), comment_id(2)]);
    assert_eq!(tombstones[0].stream_id, STREAM);
    assert_eq!((&*tombstones[0].reason, tombstones[0].deleted_at), ("blocked_word", 1234));
}

#[tokio::test(start_paused = true)]
async fn a_restoration_takes_back_what_was_before_it() {
    let test = setup();
    test.append((0..3).map(submitted)).await;
    test.append([0, 1, 2].map(|number| moderated(number, Decision::Reject))).await;
    test.append([restored(0), restored(1), moderated(1, Decision::Reject)]).await;
    test.start();
    test.committed_to(9).await;
    let deleted: Vec<_> = test.store.tombstones().iter().map(|it| it.comment_id).collect();
    assert_eq!(deleted, [comment_id(1), comment_id(2)]);
    // A node that lost its place in the consumer group writes the first of these records late.
    let deletions =
        vec![ArchivedDeletion { tombstone: tombstone(STREAM, 0), seq: 3, author: UserId(1) }];
    let late = ArchiveBatch { deletions, ..ArchiveBatch::new(test.log.epoch()) };
    test.store.write(&late).await.unwrap();
    assert_eq!(test.store.tombstones().len(), 2, "the restoration comes later in the log");
}

#[tokio::test(start_paused = true)]
async fn records_without_content_are_committed_unwritten() {
    let test = setup();
    test.append([moderated(1, Decision::Flag)]).await;
    test.start();
    test.committed_to(1).await;
    assert_eq!(test.store.batch_sizes(), [0_usize; 0], "only the position is written");
}

#[tokio::test(start_paused = true)]
async fn undecodable_records_become_dead_letters() {
    let test = setup();
    test.append([submitted(0), b"no event".to_vec(), submitted(2)]).await;
    test.start();
    test.committed_to(3).await;
    assert_eq!(test.store.seqs_written(), [0, 2]);
    let letters = test.log.records(Topic::DeadLetters);
    let letter = DeadLetter::decode(&letters[0].payload).unwrap();
    assert_eq!((letters.len(), letters[0].key), (1, 7));
    assert_eq!((letter.topic.as_str(), letter.group.as_str()), ("comment_events", "archiver"));
    assert_eq!((letter.offset, letter.payload.as_slice()), (1, b"no event".as_slice()));
    assert!(letter.reason.contains("invalid event record"), "{}", letter.reason);
    assert_eq!(test.archiver.metrics.dead_letters.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_while_the_store_is_down() {
    let test = setup();
    test.store.fail_writes(10);
    test.append((0..150).map(submitted)).await;
    test.start();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(test.archiver.breaker.state(), BreakerState::Open);
    assert_eq!(test.committed_now(), None);
    let tries = test.store.writes();
    assert!((3..=6).contains(&tries), "an open breaker permits one call per 5 s: {tries}");
    test.append((150..160).map(submitted)).await;
    test.committed_to(160).await;
    assert_eq!(test.store.seqs_written(), (0..160).collect::<Vec<_>>());
    assert_eq!(test.archiver.breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn stopping_stores_and_commits_the_read_records() {
    let test = setup();
    test.append((0..10).map(submitted)).await;
    let running = test.start();
    // Less than the interval: the batch is read and still waits to fill.
    tokio::time::sleep(test.archiver.config.archive_interval / 2).await;
    assert_eq!(test.store.writes(), 0);
    test.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(test.committed_now(), Some(10));
    assert_eq!(test.store.batch_sizes(), [10]);
}

#[tokio::test(start_paused = true)]
async fn stopping_with_the_store_down_commits_nothing() {
    let test = setup();
    test.store.fail_writes(u32::MAX);
    test.append((0..10).map(submitted)).await;
    let running = test.start();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let stopped = Instant::now();
    test.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(stopped.elapsed(), Duration::ZERO);
    assert_eq!(test.committed_now(), None);
}

#[tokio::test]
async fn a_crash_before_the_commit_stores_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteComments::open(&dir.path().join("comments.db")).await.unwrap());
    let log = InMemoryLog::shaped(1, 0);
    let archiver = archiver(&log, store.clone());
    let stop = CancellationToken::new();
    append(&log, (0..150).map(submitted).chain([moderated(5, Decision::Reject)])).await;
    log.fail_commits_with(Some(LogError::Corrupt("refused by the test".to_owned())));
    let crashed = archiver.clone().run(stop.clone()).await;
    assert!(matches!(crashed, Err(ArchiveError::Commit(_))), "{crashed:?}");
    assert_eq!(shown(&*store, STREAM).await, 99, "stored, and not committed");
    log.fail_commits_with(None);
    let running = tokio::spawn(archiver.clone().run(stop.clone()));
    log.wait_for_commit(Topic::CommentEvents, ConsumerGroup::Archiver, 151).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(shown(&*store, STREAM).await, 148);
    let page = store.page(STREAM, None, 1000).await.unwrap();
    let shown: Vec<_> = page.iter().map(|comment| comment.seq).collect();
    let expected: Vec<_> = (0..150).rev().filter(|seq| ![3, 5].contains(seq)).collect();
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_refused_position_is_committed_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteComments::open(&dir.path().join("comments.db")).await.unwrap());
    let log = InMemoryLog::shaped(1, 0);
    let stop = CancellationToken::new();
    append(&log, (0..50).map(submitted).collect::<Vec<_>>()).await;
    log.fail_commits_with(Some(LogError::Unavailable("away".to_owned())));
    let running = tokio::spawn(archiver(&log, store.clone()).run(stop.clone()));
    while shown(&*store, STREAM).await < 49 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.committed_offset(Topic::CommentEvents, ConsumerGroup::Archiver), None);
    log.fail_commits_with(None);
    // Without another record.
    log.wait_for_commit(Topic::CommentEvents, ConsumerGroup::Archiver, 50).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Waits until the store has a comment of each of these sequence numbers.
async fn has_comments(test: &ArchiveTest, seqs: std::ops::Range<u64>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let page = test.store.page(STREAM, None, 1000).await.unwrap();
        let found: Vec<_> = page.iter().rev().map(|comment| comment.seq).collect();
        if found == seqs.clone().filter(|seq| *seq != 3).collect::<Vec<_>>() {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn problems(test: &ArchiveTest) -> Vec<(String, String)> {
    let problems = test.archiver.problems.list().into_iter();
    problems.map(|problem| (problem.code, problem.text)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_store_lost_while_stopped_is_rebuilt_and_told() {
    let test = setup();
    test.archive_and_stop(250).await;
    assert_eq!(problems(&test), []);
    test.store.lose_everything();
    let test = ArchiveTest { stop: CancellationToken::new(), ..test };
    test.start();
    has_comments(&test, 0..250).await;
    let [(code, text)] = problems(&test).try_into().unwrap();
    assert_eq!(code, "store_rebuilt");
    assert!(text.contains("partition 0: offsets 0 to 249"), "{text}");
    test.append((250..260).map(submitted)).await;
    has_comments(&test, 0..260).await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(problems(&test), [], "shown for a while");
}

#[tokio::test(start_paused = true)]
async fn rows_lost_while_running_are_rebuilt_and_told() {
    for lose in [InMemoryComments::lose_everything, InMemoryComments::lose_comments] {
        let test = setup();
        test.append((0..50).map(submitted)).await;
        test.start();
        test.committed_to(50).await;
        lose(&test.store);
        tokio::time::sleep(Duration::from_secs(5)).await;
        has_comments(&test, 0..50).await;
        assert_eq!(problems(&test).len(), 1);
        let writes = test.store.writes();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(test.store.writes(), writes, "rebuilt once");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_lost_while_comments_arrive_are_rebuilt() {
    // Also before the second comparison.
    for lost_at in [3, 100] {
        let test = setup();
        test.start();
        append_often(&test, 0..lost_at).await;
        test.store.lose_everything();
        append_often(&test, lost_at..200).await;
        has_comments(&test, 0..200).await;
        let [(code, _)] = problems(&test).try_into().unwrap();
        assert_eq!(code, "store_rebuilt");
        let writes = test.store.writes();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(test.store.writes(), writes, "rebuilt once");
    }
}

/// Appends so often that each comparison finds a new position and its comment.
async fn append_often(test: &ArchiveTest, numbers: std::ops::Range<u64>) {
    let interval = test.archiver.config.archive_interval * 2;
    for number in numbers {
        test.append([submitted(number)]).await;
        tokio::time::sleep(interval.min(Duration::from_millis(200))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rows_lost_again_after_a_rebuild_are_rebuilt() {
    let test = setup();
    test.archive_and_stop(50).await;
    test.store.lose_everything();
    let test = ArchiveTest { stop: CancellationToken::new(), ..test };
    test.start();
    has_comments(&test, 0..50).await;
    test.store.lose_everything();
    append_often(&test, 50..100).await;
    has_comments(&test, 0..100).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_from_a_backup_gets_only_the_rest() {
    let test = setup();
    test.archive_and_stop(250).await;
    let backup = Arc::new(InMemoryComments::default());
    let restored = archiver(&test.log, backup.clone());
    let mut batch = Batch::new(test.log.epoch());
    let records = test.log.records(Topic::CommentEvents);
    let mut repeats = RepeatFilter::new(Arc::new(test.log.clone()));
    batch.add_records(&records[..100], &mut repeats).await.unwrap();
    backup.write(batch.rows()).await.unwrap();
    let test = ArchiveTest {
        store: backup,
        archiver: restored,
        stop: CancellationToken::new(),
        log: test.log,
    };
    test.start();
    has_comments(&test, 0..250).await;
    assert_eq!(test.store.seqs_written(), (0..250).collect::<Vec<_>>(), "nothing twice");
    let [(code, text)] = problems(&test).try_into().unwrap();
    assert_eq!(code, "store_rebuilt");
    assert!(text.contains("partition 0: offsets 100 to 249"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_has_are_told() {
    let test = setup();
    let first = 100;
    let log = InMemoryLog::shaped(1, first);
    append(&log, (0..50).map(submitted)).await;
    log.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, first + 40);
    let archiver = archiver(&log, test.store.clone());
    let test = ArchiveTest { log, archiver, ..test };
    test.start();
    test.committed_to(first + 50).await;
    let told = problems(&test);
    let codes: Vec<_> = told.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["history_incomplete", "store_rebuilt"]);
    assert!(told[0].1.contains("partition 0: offsets 1 to 99"), "{}", told[0].1);
    assert!(told[1].1.contains("partition 0: offsets 100 to 139"), "{}", told[1].1);
    assert_eq!(test.store.written().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn comment_that_is_in_the_log_twice_is_stored_once() {
    let sent = |number: u64, client_ref: &str| {
        let Ok(Event::CommentSubmitted(event)) = Event::decode(&submitted(number)) else {
            panic!()
        };
        let client_ref = Some(client_ref.into());
        let comment = Arc::new(Comment { user_id: UserId(9), ..event.comment.as_ref().clone() });
        Event::CommentSubmitted(CommentSubmitted { client_ref, comment, ..event }).encode()
    };
    let test = setup();
    test.append([sent(1, "a"), sent(2, "b"), sent(4, "a"), sent(2, "b")]).await;
    let first = test.start();
    test.committed_to(4).await;
    assert_eq!(test.store.seqs_written(), [0, 1], "under another id or the same");
    test.stop.cancel();
    first.await.unwrap().unwrap();
    // Another archiver continues in the middle.
    test.append([sent(5, "b"), sent(6, "c")]).await;
    tokio::spawn(test.archiver.clone().run(CancellationToken::new()));
    test.committed_to(6).await;
    assert_eq!(test.store.seqs_written(), [0, 1, 5]);
}

/// Archives comments from an embedded log until the store shows `shown` of them. Returns the epoch
/// of the log, and the problems of the archiver.
async fn archive_from_files(
    directory: &std::path::Path,
    numbers: std::ops::Range<u64>,
    shown: usize,
) -> (Epoch, Vec<(String, String)>) {
    let config = EventLogConfig::default();
    let telemetry = LogTelemetry::default();
    let log = EmbeddedLog::open(&directory.join("log"), &config, Arc::new(SystemClock), telemetry);
    let log: SharedLog = Arc::new(log.unwrap());
    let store = Arc::new(SqliteComments::open(&directory.join("comments.db")).await.unwrap());
    let end =
        log.bounds(Topic::CommentEvents, 0).await.unwrap().end + numbers.clone().count() as u64;
    append(&*log, numbers.map(submitted).collect::<Vec<_>>()).await;
    let archiver =
        Archiver { log: log.clone(), ..archiver(&InMemoryLog::shaped(1, 0), store.clone()) };
    let stop = CancellationToken::new();
    let running = tokio::spawn(archiver.clone().run(stop.clone()));
    let archived = async {
        let archived = Position { partition: 0, offset: end };
        let mut committed = Vec::new();
        while committed != [archived] {
            tokio::time::sleep(Duration::from_millis(10)).await;
            committed = log.committed(Topic::CommentEvents, ConsumerGroup::Archiver).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), archived).await.expect("archived in time");
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(store.page(STREAM, None, 1000).await.unwrap().len(), shown);
    log.close().await.unwrap();
    let problems = archiver.problems.list().into_iter();
    (log.epoch(), problems.map(|problem| (problem.code, problem.text)).collect())
}

fn remove_segments(directory: &std::path::Path) {
    let topic = directory.join("log").join(Topic::CommentEvents.name());
    for entry in std::fs::read_dir(topic).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test]
async fn records_stored_under_an_earlier_epoch_are_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // The comment with number 3 is on no page.
    let (mut epoch, problems) = archive_from_files(path, 0..50, 49).await;
    assert_eq!(problems, []);
    for round in 1..3 {
        remove_segments(path);
        let numbers = round * 50..round * 50 + 5;
        let (next, problems) = archive_from_files(path, numbers, 49 + round as usize * 5).await;
        assert_ne!(next, epoch);
        assert_eq!(problems, [], "the store has all of them");
        epoch = next;
    }
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (epoch, problems) = archive_from_files(path, 0..50, 49).await;
    assert_eq!(problems, []);
    std::fs::rename(path.join("log"), path.join("saved")).unwrap();
    let (other, problems) = archive_from_files(path, 50..60, 59).await;
    let [(code, text)] = problems.try_into().unwrap();
    assert_eq!(code, "log_replaced");
    assert!(text.contains(&format!("another event log (epoch {epoch})")), "{text}");
    let (again, problems) = archive_from_files(path, 60..61, 60).await;
    assert_eq!((again, problems), (other, vec![]), "told once");
}

#[tokio::test]
async fn records_lost_with_the_log_and_the_store_are_told() {
    // The store is lost, or is restored from a backup.
    for (backup, lost) in [(None, "offsets 1 to 50"), (Some(20), "offsets 20 to 50")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (epoch, _) = archive_from_files(path, 50..100, 50).await;
        remove_segments(path);
        for file in ["comments.db", "comments.db-wal", "comments.db-shm"] {
            let _ = std::fs::remove_file(path.join(file));
        }
        if let Some(offset) = backup {
            let store = SqliteComments::open(&path.join("comments.db")).await.unwrap();
            let next = Position { partition: 0, offset };
            let archived = vec![Archived { next, newest: None, rewound: false }];
            store.write(&ArchiveBatch { archived, ..ArchiveBatch::new(epoch) }).await.unwrap();
        }
        let (_, problems) = archive_from_files(path, 500..505, 5).await;
        let [(code, text)] = problems.try_into().unwrap();
        assert_eq!(code, "history_incomplete");
        assert!(text.contains(lost), "{text}");
    }
}
