//! Whole runs against a server with known faults.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::NoProgress;
use super::pool::ViewerPlan;
use super::pools::ViewerPlacement;
use super::report::Report;
use super::run::LoadRun;
use super::schedule::Workload;
use super::test_server::{Fault, TestServer};
use crate::client::Endpoint;
use crate::client::viewer::ViewerOptions;
use crate::protocol::message::Encoding;
use crate::protocol::{CloseCode, StreamId, UserId};

const USER: u64 = 5_000;
const COMMENTS: u64 = 40;

async fn run_with(fault: Fault, viewers: usize, encoding: Encoding) -> Report {
    let server = TestServer::start(fault, UserId(USER), encoding).await;
    let mut run = load_run(&server, viewers, encoding);
    if fault != Fault::None {
        // Comments that a fault loses are waited for in vain.
        run.grace = Duration::from_millis(500);
    }
    report_of(run).await
}

fn load_run(server: &TestServer, viewers: usize, encoding: Encoding) -> LoadRun {
    let options =
        ViewerOptions { encoding, ..ViewerOptions::new(server.endpoint.clone(), StreamId(1)) };
    let duration = Duration::from_millis(200);
    LoadRun {
        viewer_plan: ViewerPlan {
            forms: vec![encoding.into()],
            ..ViewerPlan::new(viewers as u64, server.endpoint.clone(), StreamId(1))
        },
        placement: ViewerPlacement::InProcess,
        viewers_requested: viewers as u64,
        senders: vec![options; 2],
        own_users: USER..USER + 1,
        workload: Workload::Rate { per_second: COMMENTS as f64 / 0.2, duration },
        reactions_per_second: 0.0,
        storms: Vec::new(),
        grace: Duration::from_secs(20),
        notes: Vec::new(),
    }
}

async fn report_of(run: LoadRun) -> Report {
    let report = run.run(&CancellationToken::new(), &NoProgress).await.unwrap();
    let Report { expected, delivered, sampled_out, skipped, deleted, lost, .. } = report;
    assert_eq!(expected, delivered + sampled_out + skipped + deleted + lost, "{report:?}");
    report
}

async fn run_with_fault(fault: Fault) -> Report {
    run_with(fault, 3, Encoding::Json).await
}

/// Returns the figures that are 0 with a correct server.
fn faults(report: &Report) -> [u64; 6] {
    let Report { lost, duplicated, out_of_order, skipped, sampled_out, disconnected, .. } = report;
    [*lost, *duplicated, *out_of_order, *skipped, *sampled_out, *disconnected]
}

#[tokio::test]
async fn a_correct_server_has_no_faults() {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let report = run_with(Fault::None, 3, encoding).await;
        assert_eq!((report.viewers, report.connected), (3, 3));
        assert_eq!((report.published, report.acked), (COMMENTS, COMMENTS));
        assert_eq!(report.delivered, 3 * COMMENTS);
        assert_eq!(faults(&report), [0; 6]);
        assert_eq!(report.unanswered + report.unsent + report.malformed, 0);
        let latency = report.latency_ms;
        assert!(latency.p50.unwrap() <= latency.p99.unwrap());
        assert!(latency.p99.unwrap() <= latency.max.unwrap());
        assert!(report.connect_ms.max.is_some() && report.ack_ms.max.is_some());
    }
}

#[tokio::test]
async fn a_comment_left_out_is_lost_at_every_viewer() {
    let report = run_with_fault(Fault::LeaveOut(10)).await;
    assert_eq!(faults(&report), [3, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_dropped_frame_is_one_loss() {
    let report = run_with_fault(Fault::DropFrame(10)).await;
    assert_eq!(faults(&report), [1, 0, 0, 0, 0, 0]);
    assert_eq!(report.delivered, 3 * COMMENTS - 1);
}

#[tokio::test]
async fn a_dropped_last_frame_is_one_loss() {
    let report = run_with_fault(Fault::DropFrame(COMMENTS as usize - 1)).await;
    assert_eq!(faults(&report), [1, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_repeated_frame_is_one_duplicate() {
    let report = run_with_fault(Fault::Repeat(10)).await;
    assert_eq!(faults(&report), [0, 1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn swapped_frames_are_out_of_order_and_not_lost() {
    let report = run_with_fault(Fault::Swap(10)).await;
    assert_eq!(faults(&report), [0, 0, 1, 0, 0, 0]);
    assert_eq!(report.delivered, 3 * COMMENTS);
}

#[tokio::test]
async fn a_gap_is_a_skip() {
    let report = run_with_fault(Fault::Gap(10)).await;
    assert_eq!(faults(&report), [0, 0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn comments_outside_the_rate_are_sampled_out() {
    let report = run_with_fault(Fault::Sample(0.5)).await;
    assert_eq!(report.lost, 0);
    assert!(report.sampled_out > 0 && report.sampled_out.is_multiple_of(3));
}

#[tokio::test]
async fn a_viewer_that_is_cut_off_resumes_without_loss() {
    let report = run_with_fault(Fault::CutOff(10, CloseCode::Shutdown)).await;
    assert_eq!(faults(&report), [0; 6]);
    assert_eq!((report.reconnects, report.delivered), (1, 3 * COMMENTS));
    assert_eq!(report.closed["shutdown"], 1);
}

#[tokio::test]
async fn a_banned_viewer_stays_away_and_expects_nothing() {
    let report = run_with_fault(Fault::CutOff(10, CloseCode::Banned)).await;
    assert_eq!(faults(&report), [0, 0, 0, 0, 0, 1]);
    assert_eq!((report.reconnects, report.expected), (0, 2 * COMMENTS + 10));
}

#[tokio::test]
async fn refusals_are_counted_by_code() {
    let report = run_with_fault(Fault::Refuse).await;
    assert_eq!(report.rejected["rate_limited"], COMMENTS / 4);
    assert_eq!((report.acked, report.unanswered), (COMMENTS * 3 / 4, 0));
    assert_eq!(report.delivered, 3 * report.acked);
}

#[tokio::test]
async fn a_comment_with_a_lost_ack_is_shown_once() {
    let report = run_with_fault(Fault::LoseAck(10)).await;
    assert_eq!((report.published, report.acked), (COMMENTS, COMMENTS));
    assert_eq!(faults(&report), [0; 6]);
    assert_eq!(report.delivered, 3 * COMMENTS);
}

/// One stall of 300 ms; a closed loop would report one slow comment, not a fifth of them.
#[tokio::test]
async fn a_stall_is_charged_to_every_waiting_comment() {
    let report = run_with_fault(Fault::Stall(10, Duration::from_millis(300))).await;
    assert!(report.latency_ms.p50.unwrap() > 60.0, "{report:?}");
    assert!(report.latency_ms.max.unwrap() >= 300.0, "{report:?}");
    assert!(report.ack_ms.p50.unwrap() > 60.0, "{report:?}");
}

#[tokio::test]
async fn a_run_needs_no_viewers() {
    let report = run_with(Fault::None, 0, Encoding::Json).await;
    assert_eq!((report.acked, report.expected, report.delivered), (COMMENTS, 0, 0));
    assert_eq!(report.latency_ms.p50, None);
    assert!(report.ack_ms.p50.is_some());
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() {
    let run = LoadRun {
        viewer_plan: ViewerPlan::new(1, Endpoint::plain("127.0.0.1", 1), StreamId(1)),
        placement: ViewerPlacement::InProcess,
        reactions_per_second: 0.0,
        storms: Vec::new(),
        viewers_requested: 1,
        senders: Vec::new(),
        own_users: 0..0,
        workload: Workload::Rate { per_second: 0.0, duration: Duration::ZERO },
        grace: Duration::ZERO,
        notes: Vec::new(),
    };
    let error = run.run(&CancellationToken::new(), &NoProgress).await.unwrap_err();
    assert!(error.to_string().contains("no viewer could connect"), "{error}");
}

/// Returns the figures that do not depend on time.
fn figures(report: &Report) -> serde_json::Value {
    let mut value = serde_json::to_value(report).unwrap();
    let timed = |key: &str| key.ends_with("_ms") || key.ends_with("_s") || key.ends_with("_second");
    value.as_object_mut().unwrap().retain(|key, _| !timed(key) && key != "generator");
    value
}

#[tokio::test]
async fn several_processes_report_what_one_does() {
    for fault in [
        Fault::None,
        Fault::LeaveOut(10),
        Fault::DropFrame(10),
        Fault::Repeat(10),
        Fault::Swap(10),
        Fault::Gap(10),
        Fault::Sample(0.5),
        Fault::Refuse,
        Fault::CutOff(10, CloseCode::Shutdown),
        Fault::CutOff(10, CloseCode::Banned),
    ] {
        let mut reports = Vec::new();
        for placement in [
            ViewerPlacement::InProcess,
            ViewerPlacement::WorkerThreads { count: 2 },
            ViewerPlacement::WorkerThreads { count: 3 },
        ] {
            let server = TestServer::start(fault, UserId(USER), Encoding::Json).await;
            let mut run = load_run(&server, 7, Encoding::Json);
            // With one sender the ids of comments, and so the sampled ones, are the same in every
            // run.
            run.senders.truncate(1);
            run.placement = placement;
            let report = report_of(run).await;
            let counts = [report.latency_ms, report.connect_ms];
            assert!(counts.iter().all(|latency| latency.max.is_some()), "{fault:?}");
            reports.push(figures(&report));
        }
        assert_eq!(reports[0], reports[1], "{fault:?}");
        assert_eq!(reports[0], reports[2], "{fault:?}");
    }
}

#[tokio::test]
async fn after_a_storm_all_return_and_miss_nothing() {
    for placement in [ViewerPlacement::InProcess, ViewerPlacement::WorkerThreads { count: 2 }] {
        let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
        let mut run = load_run(&server, 5, Encoding::Json);
        let storms = [50, 130].map(Duration::from_millis);
        run.placement = placement;
        run.storms = storms.to_vec();
        let report = report_of(run).await;
        assert_eq!(faults(&report), [0; 6]);
        assert_eq!((report.delivered, report.reconnects), (5 * COMMENTS, 10));
        assert_eq!(report.storms.len(), 2);
        for (storm, at) in report.storms.iter().zip(storms) {
            assert_eq!((storm.at_s, storm.viewers), (at.as_secs_f64(), 5));
            assert_eq!((storm.back, storm.all_back_ms), (5, storm.back_ms.max));
            assert!(storm.all_back_ms.is_some());
        }
        assert!(report.closed.is_empty(), "a storm is not a close by the server");
    }
}

#[tokio::test]
async fn encodings_share_the_viewers() {
    let server = TestServer::start(Fault::None, UserId(USER), None).await;
    let mut run = load_run(&server, 6, Encoding::Msgpack);
    run.viewer_plan.forms = vec![Encoding::Json.into(), Encoding::Msgpack.into()];
    let report = report_of(run).await;
    assert_eq!(faults(&report), [0; 6]);
    assert_eq!(report.delivered, 6 * COMMENTS);
}

#[tokio::test]
async fn slow_viewers_stay_and_expect_nothing() {
    let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
    let mut run = load_run(&server, 6, Encoding::Json);
    run.viewer_plan.slow_percent = 50.0;
    let report = report_of(run).await;
    assert_eq!((report.connected, report.slow_viewers), (6, 3));
    assert_eq!((report.expected, report.delivered), (3 * COMMENTS, 3 * COMMENTS));
    assert_eq!(faults(&report), [0; 6]);
}

#[tokio::test]
async fn reactions_are_sent_beside_comments_and_counted() {
    let fault = Fault::HoldUntilReactions(30);
    let server = TestServer::start(fault, UserId(USER), Encoding::Json).await;
    let mut run = load_run(&server, 2, Encoding::Json);
    run.reactions_per_second = 150.0;
    let report = report_of(run).await;
    assert_eq!((report.reactions_sent, report.reactions_refused), (30, 10));
    assert_eq!(report.reaction_updates, 2 * 20);
    assert_eq!((report.acked, report.delivered), (COMMENTS, 2 * COMMENTS));
}

#[tokio::test]
async fn pings_are_answered() {
    let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
    let run = load_run(&server, 3, Encoding::Json);
    let senders = run.senders.len() as u64;
    report_of(run).await;
    assert_eq!(server.pongs(), 3 + senders);
}

#[tokio::test]
async fn a_program_that_is_no_worker_fails_the_run() {
    for (program, reason) in [("/bin/false", "exit status: 1"), ("/bin/true", "it ended early")] {
        let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
        let mut run = load_run(&server, 4, Encoding::Json);
        run.placement = ViewerPlacement::WorkerProcesses { program: program.into(), count: 2 };
        let error = run.run(&CancellationToken::new(), &NoProgress).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("was lost") && error.contains(reason), "{error}");
    }
}
