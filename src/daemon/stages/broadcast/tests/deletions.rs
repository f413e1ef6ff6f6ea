//! Deletions and restorations.

use std::time::Duration;

use super::{STREAM, Stage, assert_ranges_join, record};
use crate::daemon::engines::bus::{BusMessage, UNNUMBERED};
use crate::daemon::engines::eventlog::{EventLog as _, NewRecord, Topic};
use crate::daemon::engines::recent::{RecentCache as _, RecentEvent};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::events::{CommentModerated, CommentRestored, Decision, Event, Told};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Role, UserId};

pub(super) fn deletion_of(comment_id: CommentId) -> NewRecord {
    decision_on(comment_id, Decision::Reject)
}

fn decision_on(comment_id: CommentId, decision: Decision) -> NewRecord {
    record(&Event::CommentModerated(decided(comment_id, decision)))
}

fn decided(comment_id: CommentId, decision: Decision) -> CommentModerated {
    CommentModerated {
        stream_id: STREAM,
        comment_id,
        user_id: UserId(1),
        decision,
        reason: "blocked_word".into(),
        timestamp: 2,
        decided_by: "rules".into(),
        text: None,
        was_hidden: false,
        in_bulk: false,
    }
}

pub(super) fn restoration_of(comment_id: CommentId) -> NewRecord {
    record(&Event::CommentRestored(CommentRestored {
        stream_id: STREAM,
        comment_id,
        user_id: UserId(1),
        reason: None,
        timestamp: 3,
        restored_by: "ann".into(),
        stays_hidden: false,
    }))
}

#[tokio::test(start_paused = true)]
async fn deletion_removes_its_pending_comment() {
    let mut stage = Stage::start();
    stage.comments(1, Duration::from_millis(1)).await;
    let (comment, comment_id) = stage.comment(Role::Viewer, false);
    stage.log.append(Topic::CommentEvents, vec![comment, deletion_of(comment_id)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let published = stage.journal.published();
    assert!(
        matches!(published.last(), Some(BusMessage::Deleted { deletion, .. }) if deletion.comment_id == comment_id),
        "{published:?}"
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    let batches = stage.journal.batches();
    assert!(batches.iter().all(|batch| batch.comments.iter().all(|c| c.comment_id != comment_id)));
    assert_eq!(batches.last().unwrap().deletions.len(), 1, "the batch that covers it lists it");
    assert_ranges_join(&batches);
}

#[tokio::test(start_paused = true)]
async fn shadow_ban_hides_a_pending_comment_from_others() {
    let mut stage = Stage::start();
    stage.comments(1, Duration::from_millis(1)).await;
    let (comment, comment_id) = stage.comment(Role::Viewer, false);
    let records = vec![comment, decision_on(comment_id, Decision::ShadowBan)];
    stage.log.append(Topic::CommentEvents, records).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let batches = stage.journal.batches();
    assert!(batches.iter().all(|batch| batch.comments.iter().all(|c| c.comment_id != comment_id)));
    let last = batches.last().unwrap();
    assert_eq!(last.own.iter().map(|c| c.comment_id).collect::<Vec<_>>(), [comment_id]);
    assert_eq!(last.deletions[0].1.told, Told::AllBut(UserId(1)));
    let page = stage.recent.after(STREAM, 0, 10).await.unwrap().unwrap();
    assert!(matches!(&page.events[1], RecentEvent::Own(own) if own.comment_id == comment_id));
}

#[tokio::test(start_paused = true)]
async fn a_hidden_comment_is_deleted_for_its_author() {
    let mut stage = Stage::start();
    let (comment, comment_id) = stage.comment(Role::Viewer, true);
    stage.log.append(Topic::CommentEvents, vec![comment]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let rejected = decided(comment_id, Decision::Reject);
    let rejected = Event::CommentModerated(CommentModerated { was_hidden: true, ..rejected });
    stage.log.append(Topic::CommentEvents, vec![record(&rejected)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let only_author = Told::Only(UserId(1));
    let published = stage.journal.published();
    assert!(
        published.iter().any(|message| matches!(message,
            BusMessage::Deleted { deletion, .. } if deletion.told == only_author)),
        "{published:?}"
    );
    assert_eq!(stage.journal.batches().last().unwrap().deletions[0].1.told, only_author);
    let page = stage.recent.after(STREAM, 0, 10).await.unwrap().unwrap();
    let is_own = |event: &RecentEvent| matches!(event, RecentEvent::Own(_));
    assert!(!page.events.iter().any(is_own), "nor is it handed out later");
}

/// Partitions were added, and the log holds records of the stream in the partition that it had.
#[tokio::test(start_paused = true)]
async fn moved_records_are_told_and_deleted_ones_vanish() {
    let log = InMemoryLog::shaped(2, 1);
    let mut stage = Stage::start_on(log.clone());
    let in_earlier_partition = |new: NewRecord| NewRecord { key: STREAM.0 + 1, ..new };
    let (comment, comment_id) = stage.comment(Role::Viewer, false);
    let earlier = vec![
        in_earlier_partition(comment),
        in_earlier_partition(stage.comment(Role::Viewer, false).0),
        in_earlier_partition(deletion_of(comment_id)),
    ];
    log.append(Topic::CommentEvents, earlier).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let problems = stage.board.problems().list();
    let [problem] = &problems[..] else { panic!("one problem: {problems:?}") };
    assert_eq!(problem.code, "records_skipped");
    assert!(problem.text.contains("3 records") && problem.text.contains("moved"), "{problem:?}");
    let (_, journal) = stage.stop().await;
    let published = journal.published();
    assert!(
        matches!(
            &published[..],
            [BusMessage::Deleted { seq: UNNUMBERED, deletion }] if deletion.comment_id == comment_id
        ),
        "{published:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn deletions_are_never_sampled_out() {
    let mut stage = Stage::start();
    stage.overrides.set(STREAM, Some(SampleRate::NONE.into()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let records: Vec<_> = (0..100).map(|_| stage.comment(Role::Viewer, false)).collect();
    let (comments, ids): (Vec<_>, Vec<_>) = records.into_iter().unzip();
    stage.log.append(Topic::CommentEvents, comments).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let deletions = ids.iter().map(|id| deletion_of(*id)).collect();
    stage.log.append(Topic::CommentEvents, deletions).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let deleted = |message: &BusMessage| matches!(message, BusMessage::Deleted { .. });
    assert_eq!(stage.journal.published().into_iter().filter(deleted).count(), 100);
}

impl Stage {
    /// Returns the ids of what a viewer that was away from the beginning is sent.
    async fn resumed(&self) -> (Vec<CommentId>, Vec<CommentId>) {
        let page = self.recent.after(STREAM, 0, 100).await.unwrap().expect("kept");
        let mut comments = Vec::new();
        let mut deletions = Vec::new();
        for event in page.events {
            match event {
                RecentEvent::Comment(comment) => comments.push(comment.comment_id),
                RecentEvent::Deleted { deletion, .. } => deletions.push(deletion.comment_id),
                RecentEvent::Own(comment) => panic!("not of this test: {comment:?}"),
            }
        }
        (comments, deletions)
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_comment_is_for_viewers_to_come() {
    let mut stage = Stage::start();
    let (comment, comment_id) = stage.comment(Role::Viewer, false);
    let (other, other_id) = stage.comment(Role::Viewer, false);
    let pause = Duration::from_millis(100);
    for records in [vec![comment, other], vec![deletion_of(comment_id)]] {
        stage.log.append(Topic::CommentEvents, records).await.unwrap();
        tokio::time::sleep(pause).await;
    }
    assert_eq!(stage.resumed().await, (vec![other_id], vec![comment_id]));
    stage.log.append(Topic::CommentEvents, vec![restoration_of(comment_id)]).await.unwrap();
    tokio::time::sleep(pause).await;
    assert_eq!(stage.resumed().await, (vec![comment_id, other_id], vec![]));
    let published = stage.journal.published();
    let restored = BusMessage::Restored { comment_id };
    assert_eq!(published.iter().filter(|message| **message == restored).count(), 1);
    let sent = stage.journal.batches();
    let sent: Vec<_> = sent.iter().flat_map(|batch| &batch.comments).collect();
    assert_eq!(sent.len(), 2, "nobody is sent it again");
    assert_ranges_join(&stage.journal.batches());
    assert_eq!(stage.board.metrics().comments_restored.get(), 1);
}

/// As when the stage has fallen behind.
#[tokio::test(start_paused = true)]
async fn a_restoration_in_the_batch_of_its_comment() {
    let mut stage = Stage::start();
    stage.comments(1, Duration::from_millis(1)).await;
    let (comment, comment_id) = stage.comment(Role::Viewer, false);
    let records = vec![comment, deletion_of(comment_id), restoration_of(comment_id)];
    stage.log.append(Topic::CommentEvents, records).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (comments, deletions) = stage.resumed().await;
    assert_eq!((comments.len(), comments[1]), (2, comment_id));
    assert_eq!(deletions, []);
    let batches = stage.journal.batches();
    assert!(batches.iter().all(|batch| batch.deletions.is_empty()), "{batches:?}");
    assert_ranges_join(&batches);
}
