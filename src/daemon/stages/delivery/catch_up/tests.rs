//! Sharing of pages between viewers.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::*;
use crate::daemon::base::handoff::Deflate;
use crate::daemon::engines::recent::{RecentCache as _, RecentEvent, RecentPage};
use crate::daemon::testing::comments::sample_comment;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::events::{Removal, Told};
use crate::protocol::message::Encoding;

const STREAM: StreamId = StreamId(5);
/// Only a failing test waits as long.
const PATIENCE: Duration = Duration::from_secs(10);

async fn append(cache: &TestRecent, from: Seq, to: Seq) {
    let event = |seq| RecentEvent::Comment(sample_comment(seq).sequenced(seq));
    cache.append(STREAM, from, to, (from..=to).map(event).collect()).await.unwrap();
}

struct Rig {
    /// Holds ten comments; a page of it is answered when the test releases it.
    cache: Arc<TestRecent>,
    history: History,
    requests: mpsc::Sender<CatchUpRequest>,
    mailbox: Arc<Mailbox>,
    metrics: Metrics,
    _poll: mio::Poll,
    _task: JoinHandle<()>,
}

impl Rig {
    async fn start() -> Self {
        let cache = Arc::new(TestRecent::with_held_pages());
        append(&cache, 1, 10).await;
        let history = History::new(cache.clone(), Arc::new(InMemoryLog::new()));
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let mailbox = Arc::new(Mailbox::new(waker));
        let metrics = Metrics::default();
        let mailboxes = vec![mailbox.clone()].into();
        let service = CatchUp::new(history.clone(), Epoch(7), mailboxes, metrics.clone());
        let (requests, receiver) = mpsc::channel(16_384);
        let task = tokio::spawn(service.serve(receiver, CancellationToken::new()));
        Self { cache, history, requests, mailbox, metrics, _poll: poll, _task: task }
    }

    fn let_through(&self, answers: usize) {
        self.cache.release_pages(answers);
    }

    async fn asked(&self) {
        let requested = self.cache.page_requested();
        tokio::time::timeout(PATIENCE, requested).await.expect("a page is requested");
    }

    fn want(&self, slot: u32, after: Seq, until: Seq, deflate: Deflate) {
        let connection = ConnectionId { worker: 0, slot, generation: 1 };
        let form = Form::new(Encoding::Json, deflate);
        self.requests
            .try_send(CatchUpRequest {
                connection,
                stream_id: STREAM,
                after,
                until,
                floor: 0,
                form,
                user: None,
            })
            .unwrap();
    }

    async fn pages(&self, count: usize) -> Vec<(u32, CatchUpPage)> {
        let mut pages = Vec::new();
        let all = async {
            while pages.len() < count {
                let caught_up = |command| match command {
                    Command::CaughtUp { connection, page } => (connection.slot, page),
                    other => panic!("{other:?}"),
                };
                pages.extend(self.mailbox.take(Vec::new()).into_iter().map(caught_up));
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the pages come");
        pages
    }
}

#[tokio::test]
async fn storm_at_one_position_is_one_read() {
    let rig = Rig::start().await;
    for slot in 0..10_000 {
        // More than wait at one time, some of whom offered compression.
        let deflate = if slot % 2 == 0 { Deflate::Off } else { Deflate::Shared };
        rig.want(slot, 4, 10, deflate);
    }
    rig.asked().await;
    rig.let_through(1);
    let pages = rig.pages(10_000).await;
    assert_eq!((rig.metrics.catch_up_reads.get(), rig.metrics.catch_up_pages.get()), (1, 10_000));
    let first = &pages[0].1;
    assert_eq!((first.covered_to, first.comments, first.until), (10, 6, 10));
    assert!(pages.iter().all(|(_, page)| Arc::ptr_eq(&page.frames, &first.frames)));
    let mut slots: Vec<_> = pages.iter().map(|(slot, _)| *slot).collect();
    slots.sort_unstable();
    assert!(slots.into_iter().eq(0..10_000), "each is answered once");
}

#[tokio::test]
async fn different_pages_are_read_independently() {
    let rig = Rig::start().await;
    (0..6).for_each(|slot| rig.want(slot, u64::from(slot % 3), 10, Deflate::Off));
    for _ in 0..3 {
        rig.asked().await;
        rig.let_through(1);
    }
    let pages = rig.pages(6).await;
    assert_eq!(rig.metrics.catch_up_reads.get(), 3);
    assert!(pages.iter().all(|(slot, page)| page.comments == 10 - u64::from(slot % 3)));
}

#[tokio::test]
async fn deletion_ends_the_sharing_of_earlier_reads() {
    let rig = Rig::start().await;
    rig.want(1, 0, 10, Deflate::Off);
    rig.asked().await;
    // On its way, with all ten comments. Now the odd ones are deleted, and viewers are told.
    for seq in (1..=10).step_by(2) {
        rig.cache.add_tombstone(STREAM, sample_comment(seq).comment_id, 11).await.unwrap();
    }
    rig.history.record_change();
    rig.want(2, 0, 10, Deflate::Off);
    rig.asked().await;
    rig.let_through(2);
    for (slot, page) in rig.pages(2).await {
        assert_eq!(page.comments, if slot == 1 { 10 } else { 5 }, "viewer {slot}");
    }
    // The kept page was read after the deletion.
    rig.want(3, 0, 10, Deflate::Off);
    assert_eq!(rig.pages(1).await[0].1.comments, 5);
    assert_eq!(rig.metrics.catch_up_reads.get(), 2);
}

#[tokio::test]
async fn a_restored_comment_is_on_the_next_page() {
    let rig = Rig::start().await;
    rig.let_through(2);
    let comment_id = sample_comment(4).comment_id;
    rig.cache.add_tombstone(STREAM, comment_id, 11).await.unwrap();
    rig.want(1, 0, 10, Deflate::Off);
    assert_eq!(rig.pages(1).await[0].1.comments, 9);
    rig.cache.restore_comment(STREAM, comment_id, 12).await.unwrap();
    rig.history.record_change();
    rig.want(2, 0, 10, Deflate::Off);
    assert_eq!(rig.pages(1).await[0].1.comments, 10, "no page from before is kept");
}

#[tokio::test(start_paused = true)]
async fn pages_are_kept_for_a_second() {
    let rig = Rig::start().await;
    rig.let_through(8);
    let mut reads = Vec::new();
    for wait_ms in [0, 900, 200, 900, 900] {
        tokio::time::advance(Duration::from_millis(wait_ms)).await;
        rig.want(1, 0, 10, Deflate::Off);
        assert_eq!(rig.pages(1).await.len(), 1);
        reads.push(rig.metrics.catch_up_reads.get());
    }
    assert_eq!(reads, [1, 1, 2, 2, 3]);
}

#[tokio::test]
async fn empty_page_is_not_kept_or_shared_further() {
    let rig = Rig::start().await;
    rig.want(1, 10, 10, Deflate::Off);
    rig.asked().await;
    append(&rig.cache, 11, 12).await;
    // It shares the read that began when there was nothing, and knows that there is more by now.
    rig.want(2, 10, 12, Deflate::Off);
    rig.let_through(1);
    let first = rig.pages(1).await;
    assert_eq!((first[0].0, first[0].1.covered_to, first[0].1.comments), (1, 10, 0));
    rig.asked().await;
    rig.let_through(1);
    let second = rig.pages(1).await;
    assert_eq!((second[0].0, second[0].1.covered_to, second[0].1.comments), (2, 12, 2));
    assert_eq!(rig.metrics.catch_up_reads.get(), 2);
}

/// The log, which is asked next, has nothing either.
#[tokio::test]
async fn failure_is_shared_but_not_kept() {
    let rig = Rig::start().await;
    rig.cache.set_down(true);
    (0..100).for_each(|slot| rig.want(slot, 3, 3, Deflate::Off));
    rig.asked().await;
    rig.let_through(1);
    let pages = rig.pages(100).await;
    assert!(pages.iter().all(|(_, page)| page.frames.is_empty() && page.covered_to == 3));
    assert_eq!(rig.metrics.catch_up_reads.get(), 1);
    rig.cache.set_down(false);
    rig.want(1, 3, 10, Deflate::Off);
    rig.let_through(1);
    assert_eq!(rig.pages(1).await[0].1.comments, 7);
}

fn request(user: Option<UserId>) -> CatchUpRequest {
    CatchUpRequest {
        connection: ConnectionId { worker: 0, slot: 1, generation: 1 },
        stream_id: STREAM,
        after: 0,
        until: 9,
        floor: 0,
        form: Form::new(Encoding::Json, Deflate::Off),
        user,
    }
}

fn text(frame: &[u8]) -> String {
    String::from_utf8_lossy(frame).into_owned()
}

fn removal(number: u64, told: Told) -> Removal {
    let comment_id = sample_comment(number).comment_id;
    Removal { comment_id, reason: "spam".into(), timestamp: 2, told }
}

#[test]
fn page_begins_with_its_deletions() {
    let events = vec![
        RecentEvent::Comment(sample_comment(2).sequenced(2)),
        RecentEvent::Deleted { seq: 3, deletion: removal(1, Told::Everybody) },
    ];
    let page = page::encode(&request(None), RecentPage { events, covered_to: 3 }, Epoch(7));
    assert_eq!((page.frames.len(), page.comments, page.covered_to), (2, 1, 3));
    assert!(text(&page.frames[0]).contains("comment.deleted"));
    assert!(text(&page.frames[1]).contains(r#""from_seq":1,"to_seq":3"#));
    assert!(page.frames_for(&request(Some(UserId(1)))).is_none(), "all are sent the same");
}

#[test]
fn page_shows_hidden_comments_to_their_author() {
    let author = sample_comment(1).user_id;
    let events = vec![
        RecentEvent::Own(sample_comment(1).sequenced(1)),
        RecentEvent::Comment(sample_comment(2).sequenced(2)),
        RecentEvent::Deleted { seq: 3, deletion: removal(1, Told::AllBut(author)) },
    ];
    let page = page::encode(&request(None), RecentPage { events, covered_to: 3 }, Epoch(7));
    let shown = |frames: &[Bytes], what| frames.iter().any(|frame| text(frame).contains(what));
    assert!(shown(&page.frames, "comment.deleted"));
    assert!(shown(&page.frames, r#""from_seq":1,"to_seq":3"#));
    assert_eq!(page.comments, 1);
    let other = request(Some(UserId(author.0 + 1)));
    assert!(page.frames_for(&other).is_none(), "another user is sent what everybody is");
    let own = page.frames_for(&request(Some(author))).expect("the author is sent another page");
    assert_eq!((own.frames.len(), own.comments), (1, 2));
    assert!(shown(&own.frames, r#""from_seq":1,"to_seq":3"#));
}

#[test]
fn page_tells_the_author_of_a_hidden_comment() {
    let author = sample_comment(1).user_id;
    let deletion = removal(1, Told::Only(author));
    let events = vec![RecentEvent::Deleted { seq: 3, deletion }];
    let page = page::encode(&request(None), RecentPage { events, covered_to: 3 }, Epoch(7));
    assert_eq!(page.frames.len(), 1, "others are told the range only");
    let own = page.frames_for(&request(Some(author))).expect("the author is sent another page");
    assert_eq!(own.frames.len(), 2);
    assert!(text(&own.frames[0]).contains("comment.deleted"));
}
