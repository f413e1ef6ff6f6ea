//! Throttles, drains and losses, which every node is told.

use super::*;

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
