//! The promises of the operations, tested with contracts in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fakes::{STARTED_MS, World, comment_id, operator, submitted};
use super::*;
use crate::daemon::base::handoff::ThrottleOrder;
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::registry::NodeCommand;
use crate::daemon::engines::registry::conformance::report;
use crate::protocol::admin::*;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::{CommentModerated, Decision, Event};
use crate::protocol::room::RoomPatch;
use crate::protocol::stream::{NewStream, StreamPatch, StreamState};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{ErrorCode, Identity, NodeId, Role, StreamId, UserId};

fn user(text: &str) -> UserRef {
    UserRef(text.to_owned())
}

fn sanction(who: &str, duration_ms: Option<u64>) -> SanctionRequest {
    SanctionRequest { user: user(who), reason: Some("spam".to_owned()), note: None, duration_ms }
}

fn about(who: &str) -> UserRequest {
    UserRequest { user: user(who), note: None }
}

fn review(number: u64, held: bool) -> ReviewItem {
    ReviewItem {
        comment_id: comment_id(number),
        stream_id: StreamId(1),
        user_id: UserId(42),
        name: "ann".to_owned(),
        message: "hm".to_owned(),
        reason: "link".to_owned(),
        flagged_at: STARTED_MS,
        held,
        shadowed: false,
        badges: Default::default(),
        evidence: Default::default(),
        claimed_by: None,
        claim_expires_at: None,
        claimed_by_you: false,
        alike: 0,
    }
}

fn decision(number: u64) -> ReviewRequest {
    ReviewRequest { comment_id: comment_id(number), reason: None, note: None }
}

fn delete(number: u64, reason: Option<&str>) -> DeleteRequest {
    DeleteRequest {
        comment_id: comment_id(number),
        reason: reason.map(str::to_owned),
        note: Some("reported by ann@example.org".to_owned()),
    }
}

fn events(world: &World, topic: Topic) -> Vec<Event> {
    world.log.events(topic).into_iter().map(|(_, event)| event).collect()
}

fn minter() -> Minter {
    Arc::new(|identity: &Identity, ttl| {
        Ok::<_, ErrorBody>(format!("{}/{}/{}", identity.user_id, identity.name, ttl.as_secs()))
    })
}

#[tokio::test]
async fn a_ban_reaches_all_nodes_before_connections_close() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    world.registry.place(42, "b").await;
    let outcome = world.control.ban(&operator(), &sanction("ann", None)).await.unwrap();
    assert_eq!(
        world.journal.lines(),
        [
            "a: sanctions read",
            "ban stored",
            "a: sanctions read",
            "b: ReloadSanctions",
            "c: ReloadSanctions",
            "a: disconnect 42 banned (you are banned: spam)",
            "b: Disconnect { user_id: UserId(42), code: Banned }",
        ]
    );
    assert_eq!(outcome.user_id, Some(UserId(42)));
    assert_eq!(outcome.connections, Some(3), "two here and one on b");
    assert!(world.sanctions.check_ban(UserId(42)).is_some());
    let bans = world.control.bans().await.unwrap();
    assert_eq!((bans[0].name.as_deref(), bans[0].reason.as_deref()), (Some("ann"), Some("spam")));
    assert_eq!(bans[0].created_by, "op (uid 0)");

    world.control.unban(&operator(), &about("42")).await.unwrap();
    assert!(world.sanctions.check_ban(UserId(42)).is_none());
    let again = world.control.unban(&operator(), &about("42")).await.unwrap_err();
    assert_eq!(again.body().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_stream_that_requires_tokens_is_told_to_all_nodes() {
    let world = World::new().await;
    let patch = StreamPatch { anonymous: Some(false), ..StreamPatch::default() };
    let outcome = world.control.update_stream(&operator(), StreamId(1), &patch).await.unwrap();
    let lines = world.journal.lines();
    assert!(lines.contains(&"a: close anonymous of 1: token_required".to_owned()), "{lines:?}");
    for node in ["b", "c"] {
        let reload = format!("{node}: ReloadStream {{ stream_id: StreamId(1) }}");
        assert!(lines.contains(&reload), "{lines:?}");
    }
    assert_eq!(outcome.connections, Some(1), "those that it closed");
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_named_and_delays_little() {
    let world = World::new().await;
    world.registry.silence("c");
    world.registry.place(42, "b").await;
    let started = Instant::now();
    let outcome = world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    assert_eq!(outcome.unreachable, [NodeId::new("c")]);
    assert!(world.journal.lines().iter().any(|line| line.starts_with("b: Disconnect")));
    assert!(started.elapsed() <= Duration::from_secs(3));
}

#[tokio::test]
async fn while_the_registry_is_down_all_nodes_get_commands() {
    let world = World::new().await;
    world.registry.set_down(true);
    world.control.kick(&operator(), &about("42")).await.unwrap();
    assert_eq!(
        world.journal.lines(),
        [
            "a: disconnect 42 kicked",
            "b: Disconnect { user_id: UserId(42), code: Kicked }",
            "c: Disconnect { user_id: UserId(42), code: Kicked }",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_by_itself_and_closes_nothing() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    world.control.timeout(&operator(), &sanction("42", Some(10_000))).await.unwrap();
    assert!(!world.journal.lines().iter().any(|line| line.contains("isconnect")));
    assert_eq!(world.sanctions.check(UserId(42)).unwrap().remaining_ms, Some(10_000));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(world.sanctions.check(UserId(42)).is_none());
    assert!(world.control.bans().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_timeout_of_a_banned_user_changes_nothing() {
    let world = World::new().await;
    world.control.ban(&operator(), &sanction("42", Some(86_400_000))).await.unwrap();
    let before = world.state();
    let refused = world.control.timeout(&operator(), &sanction("42", Some(10_000))).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, ControlError::StaysBanned { .. }), "{error}");
    assert!(error.to_string().contains("the ban until 2023-11-15"), "{error}");
    assert_eq!(world.state(), before);
}

#[tokio::test]
async fn a_shorter_ban_says_which_ban_it_replaces() {
    let world = World::new().await;
    let first = world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    assert_eq!(first.replaced, None);
    let second = world.control.ban(&operator(), &sanction("42", Some(60_000))).await.unwrap();
    let replaced = second.replaced.unwrap();
    assert_eq!((replaced.kind, replaced.expires_at), (SanctionKind::Ban, None));
    let audits = world.metadata.audits();
    assert_eq!(audits[1].detail["replaces"]["created_by"], "op (uid 0)");
    assert_eq!(audits[1].detail["duration_ms"], 60_000);
    let undo = UndoRequest { audit_id: second.audit_id, note: None };
    world.control.undo(&operator(), &undo).await.unwrap();
    assert_eq!(world.control.bans().await.unwrap()[0].expires_at, None);
    let third = world.control.ban(&operator(), &sanction("42", Some(60_000))).await.unwrap();
    world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    let undo = UndoRequest { audit_id: third.audit_id + 1, note: None };
    world.control.undo(&operator(), &undo).await.unwrap();
    let bans = world.control.bans().await.unwrap();
    assert!(bans[0].expires_at.is_some(), "an entry with `replaces` can be read: {bans:?}");
}

#[tokio::test]
async fn direct_messages_and_announcements_are_delivered() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    let message = " hello ".to_owned();
    let direct = DirectRequest { user: user("ann"), message: message.clone() };
    let outcome = world.control.direct(&operator(), &direct).await.unwrap();
    assert_eq!(outcome.connections, Some(2));
    let announce = AnnounceRequest { stream_id: StreamId(1), message };
    world.control.announce(&operator(), &announce).await.unwrap();
    assert_eq!(
        world.journal.lines(),
        ["a: direct 42 moderator: hello", "bus 1: Announcement { message: \"hello\" }"]
    );
}

#[tokio::test]
async fn deletion_finds_comments_in_the_store_and_the_log() {
    let world = World::new().await;
    let archived = ArchivedComment {
        comment: submitted(StreamId(1), 1, "archived").comment,
        seq: 0,
        shadow: false,
    };
    world.comments.write_rows(&[archived], &[]).await.unwrap();
    world.comment(2, "fresh");
    (10..3_000).for_each(|number| drop(world.comment(number, "noise")));

    let outcome = world.control.delete(&operator(), &delete(1, Some("off_topic"))).await.unwrap();
    assert_eq!(&*outcome.deletion.unwrap().reason, "off_topic");
    let outcome = world.control.delete(&operator(), &delete(2, None)).await.unwrap();
    assert_eq!(&*outcome.deletion.unwrap().reason, "moderator", "a note is not for viewers");
    let unknown = world.control.delete(&operator(), &delete(9_999, None)).await.unwrap_err();
    assert_eq!(unknown.body().code, ErrorCode::NotFound);

    let mut decided = Vec::new();
    for event in events(&world, Topic::CommentEvents) {
        if let Event::CommentModerated(event) = event {
            assert_eq!((event.stream_id, event.user_id), (StreamId(1), UserId(42)));
            decided.push((event.comment_id, event.decision));
        }
    }
    let rejected = Decision::Reject;
    assert_eq!(decided, [(comment_id(1), rejected), (comment_id(2), rejected)]);
    let kept = events(&world, Topic::ModerationEvents);
    let text = |event: &Event| match event {
        Event::CommentModerated(event) => event.text.clone().map(|text| text.message.to_string()),
        Event::CommentSubmitted(_) | Event::CommentRestored(_) => None,
    };
    let texts: Vec<_> = kept.iter().map(text).collect();
    assert_eq!(texts, [Some("archived".to_owned()), Some("fresh".to_owned())]);
}

#[tokio::test]
async fn a_comment_store_that_is_down_delays_no_deletion() {
    let world = World::new().await;
    world.comment(2, "fresh");
    world.comments.set_down(true);
    world.control.delete(&operator(), &delete(2, None)).await.unwrap();
    let unknown = world.control.delete(&operator(), &delete(3, None)).await.unwrap_err();
    assert_eq!(unknown.body().code, ErrorCode::StoreUnavailable, "it may well be in the store");
}

#[tokio::test]
async fn a_held_comment_is_published_only_when_approved() {
    let world = World::new().await;
    for (number, held) in [(1, true), (2, true), (3, false), (4, false)] {
        world.metadata.queue_review(review(number, held), 0).await.unwrap();
    }
    world.control.approve(&operator(), &decision(1)).await.unwrap();
    world.control.reject(&operator(), &decision(2)).await.unwrap();
    world.control.approve(&operator(), &decision(3)).await.unwrap();
    let rejected = world.control.reject(&operator(), &decision(4)).await.unwrap();
    assert_eq!(rejected.deletion.unwrap().comment_id, comment_id(4));
    let events = events(&world, Topic::CommentEvents);
    let [Event::CommentSubmitted(released), Event::CommentModerated(removed)] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert!(released.screened && !released.shadow);
    assert_eq!((&*released.comment.message, released.comment.created_at), ("hm", STARTED_MS));
    assert_eq!(removed.comment_id, comment_id(4));
    let twice = world.control.approve(&operator(), &decision(1)).await.unwrap_err().body();
    assert_eq!(twice.code, ErrorCode::ReviewDecided);
    assert!(twice.message.contains("was approved by op (uid 0)"), "{}", twice.message);
}

/// Makes the log refuse what it is asked, and then lets the periodic task run.
async fn is_carried_out_later(action: &str) {
    let world = world_to_change().await;
    world.metadata.queue_review(review(8, true), 0).await.unwrap();
    let before = world.log.events(Topic::CommentEvents).len();
    world.log.fail_appends_with(Some(LogError::Full("switched off".to_owned())));
    let deferred = match action {
        "approve" => world.control.approve(&operator(), &decision(8)).await.map(drop),
        _ => change(&world, action).await,
    };
    let body = deferred.unwrap_err().body();
    assert_eq!(body.code, ErrorCode::StorageFull, "{action}");
    assert!(body.message.starts_with("recorded as audit entry 1"), "{}", body.message);
    let stop = CancellationToken::new();
    tokio::spawn(world.control.clone().publish_pending(stop.clone()));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.log.events(Topic::CommentEvents).len(), before);
    world.log.fail_appends_with(None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.log.events(Topic::CommentEvents).len(), before + 1, "{action}: once");
    assert_eq!(world.metadata.audits().len(), 1, "{action}");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_change_the_log_refuses_is_carried_out_later() {
    for action in ["delete", "reject", "approve", "restore"] {
        is_carried_out_later(action).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_published_change_is_not_published_again() {
    let world = world_to_change().await;
    change(&world, "delete").await.unwrap();
    let events = world.log.events(Topic::CommentEvents).len();
    tokio::spawn(world.control.clone().publish_pending(CancellationToken::new()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.log.events(Topic::CommentEvents).len(), events);
}

#[tokio::test]
async fn a_throttle_is_stored_and_sent_to_every_node() {
    let mut world = World::new().await;
    let sample_rate = SampleRate::from_share(0.1);
    let for_ms = Some(600_000);
    let request = ThrottleRequest { stream_id: StreamId(1), sample_rate, for_ms };
    let audit_id = world.control.throttle(&operator(), &request).await.unwrap().audit_id;
    let at = world.metadata.audits()[audit_id as usize - 1].at;
    let fixed = sample_rate.map(|rate| FixedRate { rate, until_ms: Some(at + 600_000) });
    assert_eq!(world.orders.recv().await, Some(ThrottleOrder { stream_id: StreamId(1), fixed }));
    assert_eq!(world.journal.lines().len(), 2, "b and c: {:?}", world.journal.lines());
    let overrides = world.metadata.throttle_overrides().await.unwrap();
    assert_eq!(overrides, [(StreamId(1), fixed.unwrap())]);
}

#[tokio::test]
async fn draining_refuses_new_viewers_and_dismisses_others() {
    let world = World::new().await;
    world.board.set_ready(true);
    let outcome = world.control.drain(&operator(), &DrainRequest::default()).await.unwrap();
    assert_eq!(outcome.connections, Some(3));
    assert!(world.board.is_draining() && !world.board.is_ready());
    world.supervisor.finished().await;
    assert_eq!(world.journal.lines(), ["a: dismiss all shutdown 5s"]);
    let undo = DrainRequest { undo: true, ..DrainRequest::default() };
    world.control.drain(&operator(), &undo).await.unwrap();
    assert!(world.board.is_ready());
}

fn drain_of(node: &str) -> DrainRequest {
    DrainRequest { node: Some(NodeId::new(node)), undo: false }
}

/// The report of a node that drains, or that accepts viewers.
fn report_draining(node: &str, draining: bool) -> NodeReport {
    let mut report = report(&NodeId::new(node));
    report.node.draining = draining;
    report
}

#[tokio::test(start_paused = true)]
async fn another_node_drains_and_reports_it() {
    let world = World::new().await;
    world.registry.set_report("b", report_draining("b", false));
    let op = operator();
    let request = drain_of("b");
    let drained = world.control.drain(&op, &request);
    let reports = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.registry.set_report("b", report_draining("b", true));
    };
    let (outcome, ()) = tokio::join!(drained, reports);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.reported, outcome.node), (Some(true), Some(NodeId::new("b"))));
    assert!(outcome.unreachable.is_empty() && outcome.elapsed_us >= 1_000_000);
    assert_eq!(world.journal.lines(), ["b: Drain { undo: false }"]);
    assert!(!world.board.is_draining(), "this node goes on");
    let entry = &world.metadata.audits()[0];
    assert_eq!((&*entry.action, &*entry.target), ("drain", "node b"));
    let undo = UndoRequest { audit_id: outcome.audit_id, note: None };
    world.registry.set_report("b", report_draining("b", false));
    let undone = world.control.undo(&operator(), &undo).await.unwrap();
    assert_eq!(undone.reported, Some(true));
    assert_eq!(world.journal.lines()[1], "b: Drain { undo: true }");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_no_report_shows_is_told() {
    let world = World::new().await;
    world.registry.silence("c");
    let outcome = world.control.drain(&operator(), &drain_of("c")).await.unwrap();
    assert_eq!((outcome.reported, outcome.connections), (Some(false), None));
    assert_eq!(outcome.unreachable, [NodeId::new("c")]);
    let answered = world.control.drain(&operator(), &drain_of("b")).await.unwrap();
    assert_eq!((answered.reported, answered.connections), (Some(false), Some(0)));
    assert!(answered.unreachable.is_empty(), "it answered, and does not report");
    // The answer is lost, the report is there.
    world.registry.set_report("c", report_draining("c", true));
    let outcome = world.control.drain(&operator(), &drain_of("c")).await.unwrap();
    assert!(outcome.reported == Some(true) && outcome.unreachable.is_empty());
}

#[tokio::test]
async fn an_unknown_node_is_not_drained() {
    let world = World::new().await;
    let error = world.control.drain(&operator(), &drain_of("edge")).await.unwrap_err().body();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_eq!(error.message, "there is no node `edge`; the nodes are a, b, c");
    assert!(world.metadata.audits().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shown_loss_is_acknowledged_on_every_node() {
    let world = World::new().await;
    world.board.problems().raise(ProblemCode::StoreMissing, "metadata store", "gone");
    world.board.problems().raise(ProblemCode::DiskFull, "event log", "full");
    for problem in ["disk_full", "nonsense", ""] {
        let request = AcknowledgeRequest { problem: problem.to_owned() };
        let body = world.control.acknowledge(&operator(), &request).await.unwrap_err().body();
        assert!(body.message.contains("store_missing"), "{}", body.message);
    }
    assert_eq!((world.board.problems().list().len(), world.journal.lines()), (2, vec![]));
    let request = AcknowledgeRequest { problem: "store_missing".to_owned() };
    let loss = |text: &str| Problem {
        code: "store_missing".to_owned(),
        subject: "metadata store".to_owned(),
        text: text.to_owned(),
        since_ms: 1,
    };
    let other = Problem { code: "log_replaced".to_owned(), ..loss("other") };
    for (node, problems) in [("b", vec![loss("gone at b"), other]), ("c", vec![loss("gone at c")])]
    {
        let report = NodeReport { problems, ..report(&NodeId::new(node)) };
        world.registry.set_report(node, report);
    }
    world.registry.silence("c");
    let outcome = world.control.acknowledge(&operator(), &request).await.unwrap();
    assert_eq!(outcome.losses, ["gone", "gone at b"], "c did not hear of it");
    assert_eq!(outcome.unreachable, [NodeId::new("c")]);
    assert_eq!(outcome.unwritten, []);
    let [left] = world.board.problems().list().try_into().unwrap();
    assert_eq!(left.code, "disk_full");
    let [(node, command)] = world.registry.commands().try_into().unwrap();
    let NodeCommand::Acknowledge { shown, .. } = command else { panic!("{command:?}") };
    let texts: Vec<_> = shown.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!((node.as_str(), texts), ("b", vec!["gone", "gone at b", "gone at c"]));
}

#[tokio::test]
async fn a_loss_that_would_come_back_is_told() {
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let problems = world.board.problems();
    problems.keep_losses_in(&folder.join("losses.json"));
    problems.raise(ProblemCode::StoreMissing, "metadata store", "gone");
    assert!(problems.losses_written().await);
    std::fs::remove_dir_all(&folder).unwrap();
    let acknowledge = async |problem: ProblemCode| {
        let request = AcknowledgeRequest { problem: problem.as_str().to_owned() };
        world.control.acknowledge(&operator(), &request).await.unwrap().unwritten
    };
    assert_eq!(acknowledge(ProblemCode::LogReplaced).await, [], "there is none");
    assert_eq!(acknowledge(ProblemCode::StoreMissing).await, [NodeId::new("a")]);
}

#[tokio::test]
async fn streams_are_created_changed_and_ended_everywhere() {
    let world = World::new().await;
    let new = NewStream { title: " two ".to_owned(), ..NewStream::default() };
    let made = world.control.create_stream(&operator(), &new).await.unwrap().stream.unwrap();
    assert_eq!((made.stream_id, &*made.title), (StreamId(2), "two"));
    assert!(world.control.parts().streams.get(StreamId(2)).is_some(), "known here at once");
    let same = NewStream { stream_id: Some(StreamId(2)), ..NewStream::default() };
    let twice = world.control.create_stream(&operator(), &same).await.unwrap_err();
    assert_eq!(twice.body().code, ErrorCode::StreamExists);

    let patch = StreamPatch { state: Some(StreamState::Ended), ..StreamPatch::default() };
    let outcome = world.control.update_stream(&operator(), StreamId(2), &patch).await.unwrap();
    assert_eq!(outcome.stream.unwrap().state, StreamState::Ended);
    let lines = world.journal.lines();
    assert_eq!(lines.last().unwrap(), "bus 2: Ended", "after every node refuses newcomers");
}

#[tokio::test]
async fn minted_tokens_have_consecutive_users() {
    let world = World::new().await;
    let request = TokenRequest {
        user_id: UserId(10),
        name: "v".to_owned(),
        role: Role::Viewer,
        ttl_ms: 60_000,
        comments_per_minute: None,
        count: 3,
        standing: Default::default(),
        account_created: None,
    };
    let minted = world.control.mint(&operator(), &request, &minter()).await.unwrap();
    assert_eq!(minted.tokens, ["10/v10/60", "11/v11/60", "12/v12/60"]);
    let one = TokenRequest { count: 1, ..request.clone() };
    assert_eq!(world.control.mint(&operator(), &one, &minter()).await.unwrap().tokens, ["10/v/60"]);
    assert_eq!(world.metadata.audits()[0].target, "users 10 to 12");
    assert!(!world.metadata.dump().contains("10/v"), "the audit log must not hold tokens");
}

#[tokio::test]
async fn tokens_of_many_users_are_one_audit_entry() {
    let world = World::new().await;
    let user = |n: u64| TokenUser { user_id: UserId(n * n), name: format!(" u{n} ") };
    let request = UserTokensRequest {
        users: (1..=2_000).map(user).collect(),
        role: Role::Viewer,
        ttl_ms: 60_000,
        comments_per_minute: Some(0),
    };
    let minted = world.control.mint_for_users(&operator(), &request, &minter()).await.unwrap();
    assert_eq!(minted.tokens.len(), 2_000);
    assert_eq!(minted.tokens[1], "4/u2/60");
    let audits = world.metadata.audits();
    assert_eq!(audits.len(), 1);
    assert_eq!((audits[0].action.as_str(), audits[0].target.as_str()), ("token", "2000 users"));
    assert_eq!(audits[0].detail["users"], 2_000);
    let wrong = [vec![], vec![TokenUser { user_id: UserId(0), name: "ann".to_owned() }]];
    for users in wrong {
        let request = UserTokensRequest { users, ..request.clone() };
        let refused = world.control.mint_for_users(&operator(), &request, &minter()).await;
        assert!(matches!(refused, Err(ControlError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(world.metadata.audits().len(), 1);
}

#[tokio::test]
async fn users_are_found_by_id_or_unique_name() {
    let world = World::new().await;
    let who = world.control.who(&user("ann")).await.unwrap();
    assert_eq!((who.user_id, who.name.as_deref()), (UserId(42), Some("ann")));
    for written in [" ann ", "ann\u{200B}", "ann\u{2800}"] {
        assert_eq!(world.control.who(&user(written)).await.unwrap().user_id, UserId(42));
    }
    let stranger = world.control.who(&user("99")).await.unwrap();
    assert_eq!((stranger.user_id, stranger.name), (UserId(99), None));
    for (text, code, said) in [
        ("nobody", ErrorCode::NotFound, "nobody named `nobody`"),
        ("twin", ErrorCode::BadRequest, "2 users: id:7, id:8"),
        ("0", ErrorCode::BadRequest, "not a user id"),
        ("99999999999999999999", ErrorCode::BadRequest, "not a user id"),
        ("", ErrorCode::BadRequest, "1 to 64 characters"),
        ("\u{3164}", ErrorCode::BadRequest, "1 to 64 characters"),
        ("a\u{1b}b", ErrorCode::BadRequest, "1 to 64 characters"),
    ] {
        let body = world.control.who(&user(text)).await.unwrap_err().body();
        assert_eq!(body.code, code, "{text:?}");
        assert!(body.message.contains(said), "{}", body.message);
    }
}

#[tokio::test]
async fn the_reason_of_a_deletion_is_one_word() {
    let world = World::new().await;
    for reason in ["reported by ann@example.org", "Spam", "", &"x".repeat(33)] {
        let refused = world.control.delete(&operator(), &delete(2, Some(reason))).await;
        let body = refused.unwrap_err().body();
        assert!(body.message.contains("`note`"), "{reason:?}: {}", body.message);
    }
    assert_eq!(world.metadata.audits(), []);
}

/// Every changing operation, by the action its audit entry has.
async fn change(world: &World, action: &str) -> Result<(), ControlError> {
    let control = &world.control;
    let op = &operator();
    match action {
        "ban" => control.ban(op, &sanction("42", None)).await.map(drop),
        "timeout" => control.timeout(op, &sanction("42", Some(5_000))).await.map(drop),
        "unban" => control.unban(op, &about("42")).await.map(drop),
        "kick" => control.kick(op, &about("42")).await.map(drop),
        "dm" => {
            let request = DirectRequest { user: user("42"), message: "hi".to_owned() };
            control.direct(op, &request).await.map(drop)
        }
        "announce" => {
            let request = AnnounceRequest { stream_id: StreamId(1), message: "hi".to_owned() };
            control.announce(op, &request).await.map(drop)
        }
        "delete" => control.delete(op, &delete(5, None)).await.map(drop),
        "throttle" => {
            let request =
                ThrottleRequest { stream_id: StreamId(1), sample_rate: None, for_ms: None };
            control.throttle(op, &request).await.map(drop)
        }
        "drain" => {
            let request = DrainRequest { undo: true, ..DrainRequest::default() };
            control.drain(op, &request).await.map(drop)
        }
        "acknowledge" => {
            let request = AcknowledgeRequest { problem: "store_missing".to_owned() };
            control.acknowledge(op, &request).await.map(drop)
        }
        "approve" => control.approve(op, &decision(6)).await.map(drop),
        "reject" => control.reject(op, &decision(7)).await.map(drop),
        "restore" => {
            let request = RestoreRequest { comment_id: comment_id(9), note: None };
            control.restore(op, &request).await.map(drop)
        }
        "create_stream" => control.create_stream(op, &NewStream::default()).await.map(drop),
        "update_stream" => {
            let patch = StreamPatch { anonymous: Some(false), ..StreamPatch::default() };
            control.update_stream(op, StreamId(1), &patch).await.map(drop)
        }
        "room" => {
            let patch = RoomPatch { no_links: Some(true), ..RoomPatch::default() };
            control.update_room(op, StreamId(1), &patch).await.map(drop)
        }
        "token" => {
            let request = TokenRequest {
                user_id: UserId(1),
                name: "v".to_owned(),
                role: Role::Viewer,
                ttl_ms: 60_000,
                comments_per_minute: None,
                count: 1,
                standing: Default::default(),
                account_created: None,
            };
            control.mint(op, &request, &minter()).await.map(drop)
        }
        other => panic!("no change is called {other}"),
    }
}

const CHANGES: [&str; 17] = [
    "timeout",
    "ban",
    "unban",
    "kick",
    "dm",
    "announce",
    "delete",
    "throttle",
    "drain",
    "acknowledge",
    "approve",
    "reject",
    "restore",
    "create_stream",
    "update_stream",
    "room",
    "token",
];

async fn world_to_change() -> World {
    let world = World::new().await;
    world.comment(5, "bad");
    world.comment(9, "deleted");
    let rejected = CommentModerated {
        stream_id: StreamId(1),
        comment_id: comment_id(9),
        user_id: UserId(42),
        decision: Decision::Reject,
        reason: "link".into(),
        timestamp: STARTED_MS,
        decided_by: "rules".into(),
        text: None,
        was_hidden: false,
        in_bulk: false,
    };
    let payload = Event::CommentModerated(rejected).encode();
    world.log.put(Topic::CommentEvents, 1, STARTED_MS, payload);
    for number in [6, 7] {
        world.metadata.queue_review(review(number, false), 0).await.unwrap();
    }
    world
}

#[tokio::test]
async fn every_change_leaves_one_audit_entry() {
    let world = world_to_change().await;
    for (index, action) in CHANGES.into_iter().enumerate() {
        change(&world, action).await.unwrap();
        let audits = world.metadata.audits();
        assert_eq!(audits.len(), index + 1, "{action}");
        let entry = &audits[index];
        assert_eq!((&*entry.action, &*entry.actor), (action, "op (uid 0)"));
        assert!(!entry.target.is_empty() && entry.detail.is_object(), "{entry:?}");
        assert!(entry.at >= STARTED_MS);
    }
}

#[tokio::test]
async fn without_the_metadata_store_nothing_changes() {
    for action in CHANGES {
        let world = world_to_change().await;
        change(&world, "ban").await.unwrap();
        let before = world.state();
        world.metadata.set_down(true);
        let body = change(&world, action).await.unwrap_err().body();
        assert_eq!(body.code, ErrorCode::StoreUnavailable, "{action}");
        assert!(body.code.retry() && body.retry_after_ms.is_some());
        assert_eq!(world.state(), before, "{action}");
    }
}

fn save_view(name: &str) -> SaveViewRequest {
    let settings = ViewSettings { view: "streams".to_owned(), ..ViewSettings::default() };
    SaveViewRequest { name: name.to_owned(), settings }
}

#[tokio::test]
async fn views_are_kept_until_they_are_forgotten() {
    let world = World::new().await;
    let outcome = world.control.save_view(&operator(), &save_view("final")).await.unwrap();
    let views = world.control.views().await.unwrap();
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].name, "final");
    assert!(views[0].saved_at >= STARTED_MS, "{views:?}");
    let entry = world.metadata.audits().pop().unwrap();
    assert_eq!((entry.audit_id, entry.action.as_str()), (outcome.audit_id, "save_view"));
    assert_eq!(entry.target, "view final");
    let forget = ForgetViewRequest { name: "final".to_owned() };
    world.control.forget_view(&operator(), &forget).await.unwrap();
    assert_eq!(world.control.views().await.unwrap(), []);
    let unknown = world.control.forget_view(&operator(), &forget).await.unwrap_err();
    assert!(matches!(unknown, ControlError::UnknownView(name) if name == "final"));
}

#[tokio::test]
async fn views_are_bounded_in_name_size_and_number() {
    let world = World::new().await;
    let before = world.metadata.audits().len();
    let long = "x".repeat(MAX_VIEW_NAME + 1);
    for name in ["", "@final", "two words", "a\u{7}b", &long] {
        let refused = world.control.save_view(&operator(), &save_view(name)).await.unwrap_err();
        assert!(matches!(refused, ControlError::Invalid { field: "name", .. }), "{name}");
    }
    let mut large = save_view("large");
    large.settings.view = "x".repeat(MAX_VIEW_BYTES);
    let refused = world.control.save_view(&operator(), &large).await.unwrap_err();
    assert!(matches!(refused, ControlError::Invalid { field: "settings", .. }), "{refused:?}");
    assert_eq!(world.metadata.audits().len(), before, "a refused request leaves no entry");
    for number in 0..MAX_SAVED_VIEWS {
        world.control.save_view(&operator(), &save_view(&number.to_string())).await.unwrap();
    }
    let refused = world.control.save_view(&operator(), &save_view("more")).await.unwrap_err();
    assert_eq!(refused.body().code, ErrorCode::BadRequest);
    assert!(refused.to_string().contains("100 views"), "{refused}");
}
