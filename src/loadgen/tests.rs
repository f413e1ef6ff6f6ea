//! Whole runs against a server whose faults are known.

use super::test_server::{Fault, TestServer};
use super::*;
use crate::protocol::message::Encoding;
use crate::protocol::{CloseCode, StreamId};
use report::Report;

const USER: u64 = 5_000;
const COMMENTS: u64 = 40;

async fn run_with(fault: Fault, viewers: usize, encoding: Encoding) -> Report {
    let server = TestServer::start(fault, UserId(USER), encoding).await;
    report_of(trial(&server, viewers, encoding)).await
}

fn trial(server: &TestServer, viewers: usize, encoding: Encoding) -> Trial {
    let options =
        ViewerOptions { encoding, ..ViewerOptions::new(server.endpoint.clone(), StreamId(1)) };
    let duration = Duration::from_millis(200);
    Trial {
        audience: AudiencePlan {
            forms: vec![encoding.into()],
            ..AudiencePlan::new(viewers as u64, server.endpoint.clone(), StreamId(1))
        },
        reach: Reach::Here,
        viewers_wanted: viewers as u64,
        senders: vec![options; 2],
        own_users: USER..USER + 1,
        workload: Workload::Rate { per_second: COMMENTS as f64 / 0.2, duration },
        reactions_per_second: 0.0,
        storms: Vec::new(),
        grace: Duration::from_millis(500),
        notes: Vec::new(),
    }
}

async fn report_of(trial: Trial) -> Report {
    let report = trial.run(&CancellationToken::new(), &Progress::hidden()).await.unwrap();
    let Report { expected, delivered, sampled_out, skipped, deleted, lost, .. } = report;
    assert_eq!(expected, delivered + sampled_out + skipped + deleted + lost, "{report:?}");
    report
}

async fn run(fault: Fault) -> Report {
    run_with(fault, 3, Encoding::Json).await
}

/// Figures that a sound server leaves at 0.
fn faults(report: &Report) -> [u64; 6] {
    let Report { lost, duplicated, out_of_order, skipped, sampled_out, disconnected, .. } = report;
    [*lost, *duplicated, *out_of_order, *skipped, *sampled_out, *disconnected]
}

#[tokio::test]
async fn a_sound_server_has_a_clean_account_in_both_encodings() {
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
    let report = run(Fault::LeaveOut(10)).await;
    assert_eq!(faults(&report), [3, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_dropped_frame_is_one_loss() {
    let report = run(Fault::DropFrame(10)).await;
    assert_eq!(faults(&report), [1, 0, 0, 0, 0, 0]);
    assert_eq!(report.delivered, 3 * COMMENTS - 1);
}

#[tokio::test]
async fn a_dropped_last_frame_is_one_loss() {
    let report = run(Fault::DropFrame(COMMENTS as usize - 1)).await;
    assert_eq!(faults(&report), [1, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_repeated_frame_is_one_duplicate() {
    let report = run(Fault::Repeat(10)).await;
    assert_eq!(faults(&report), [0, 1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn swapped_frames_are_out_of_order_and_not_lost() {
    let report = run(Fault::Swap(10)).await;
    assert_eq!(faults(&report), [0, 0, 1, 0, 0, 0]);
    assert_eq!(report.delivered, 3 * COMMENTS);
}

#[tokio::test]
async fn a_gap_is_a_skip() {
    let report = run(Fault::Gap(10)).await;
    assert_eq!(faults(&report), [0, 0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn what_the_rate_leaves_out_is_sampled_out() {
    let report = run(Fault::Sample(0.5)).await;
    assert_eq!(report.lost, 0);
    assert!(report.sampled_out > 0 && report.sampled_out.is_multiple_of(3));
}

#[tokio::test]
async fn a_viewer_that_is_cut_off_resumes_without_loss() {
    let report = run(Fault::CutOff(10, CloseCode::Shutdown)).await;
    assert_eq!(faults(&report), [0; 6]);
    assert_eq!((report.reconnects, report.delivered), (1, 3 * COMMENTS));
    assert_eq!(report.closed["shutdown"], 1);
}

#[tokio::test]
async fn a_viewer_that_is_sent_away_stays_away_and_is_owed_no_more() {
    let report = run(Fault::CutOff(10, CloseCode::Banned)).await;
    assert_eq!(faults(&report), [0, 0, 0, 0, 0, 1]);
    assert_eq!((report.reconnects, report.expected), (0, 2 * COMMENTS + 10));
}

#[tokio::test]
async fn refusals_are_counted_by_code() {
    let report = run(Fault::Refuse).await;
    assert_eq!(report.rejected["rate_limited"], COMMENTS / 4);
    assert_eq!((report.acked, report.unanswered), (COMMENTS * 3 / 4, 0));
    assert_eq!(report.delivered, 3 * report.acked);
}

#[tokio::test]
async fn a_lost_ack_is_asked_for_again_and_shown_once() {
    let report = run(Fault::LoseAck(10)).await;
    assert_eq!((report.published, report.acked), (COMMENTS, COMMENTS));
    assert_eq!(faults(&report), [0; 6]);
    assert_eq!(report.delivered, 3 * COMMENTS);
}

/// One stall of 300 ms; a closed loop would report one slow comment, not a fifth of them.
#[tokio::test]
async fn a_stalled_server_is_charged_for_all_it_kept_waiting() {
    let report = run(Fault::Stall(10, Duration::from_millis(300))).await;
    assert!(report.latency_ms.p50.unwrap() > 60.0, "{report:?}");
    assert!(report.latency_ms.max.unwrap() >= 300.0, "{report:?}");
    assert!(report.ack_ms.p50.unwrap() > 60.0, "{report:?}");
}

#[tokio::test]
async fn nobody_needs_to_watch() {
    let report = run_with(Fault::None, 0, Encoding::Json).await;
    assert_eq!((report.acked, report.expected, report.delivered), (COMMENTS, 0, 0));
    assert_eq!(report.latency_ms.p50, None);
    assert!(report.ack_ms.p50.is_some());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let trial = Trial {
        audience: AudiencePlan::new(1, Endpoint::plain("127.0.0.1", 1), StreamId(1)),
        reach: Reach::Here,
        reactions_per_second: 0.0,
        storms: Vec::new(),
        viewers_wanted: 1,
        senders: Vec::new(),
        own_users: 0..0,
        workload: Workload::Rate { per_second: 0.0, duration: Duration::ZERO },
        grace: Duration::ZERO,
        notes: Vec::new(),
    };
    let error = trial.run(&CancellationToken::new(), &Progress::hidden()).await.unwrap_err();
    assert!(error.to_string().contains("no viewer could connect"), "{error}");
}

/// All figures that do not depend on the time of day.
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
        for reach in [Reach::Here, Reach::Pipes { count: 2 }, Reach::Pipes { count: 3 }] {
            let server = TestServer::start(fault, UserId(USER), Encoding::Json).await;
            let mut trial = trial(&server, 7, Encoding::Json);
            // The ids of comments, and so what a rate leaves out, are the server's and always the same.
            trial.senders.truncate(1);
            trial.reach = reach;
            let report = report_of(trial).await;
            let counts = [report.latency_ms, report.connect_ms];
            assert!(counts.iter().all(|latency| latency.max.is_some()), "{fault:?}");
            reports.push(figures(&report));
        }
        assert_eq!(reports[0], reports[1], "{fault:?}");
        assert_eq!(reports[0], reports[2], "{fault:?}");
    }
}

#[tokio::test]
async fn after_a_storm_all_are_back_and_nothing_is_missed() {
    for reach in [Reach::Here, Reach::Pipes { count: 2 }] {
        let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
        let mut trial = trial(&server, 5, Encoding::Json);
        let storms = [50, 130].map(Duration::from_millis);
        trial.reach = reach;
        trial.storms = storms.to_vec();
        let report = report_of(trial).await;
        assert_eq!(faults(&report), [0; 6]);
        assert_eq!((report.delivered, report.reconnects), (5 * COMMENTS, 10));
        assert_eq!(report.storms.len(), 2);
        for (storm, at) in report.storms.iter().zip(storms) {
            assert_eq!((storm.at_s, storm.viewers), (at.as_secs_f64(), 5));
            assert_eq!((storm.back, storm.all_back_ms), (5, storm.back_ms.max));
            assert!(storm.all_back_ms.is_some());
        }
        assert!(report.closed.is_empty(), "who leaves on purpose was not cut off");
    }
}

#[tokio::test]
async fn encodings_share_the_viewers() {
    let server = TestServer::start(Fault::None, UserId(USER), None).await;
    let mut trial = trial(&server, 6, Encoding::Msgpack);
    trial.audience.forms = vec![Encoding::Json.into(), Encoding::Msgpack.into()];
    let report = report_of(trial).await;
    assert_eq!(faults(&report), [0; 6]);
    assert_eq!(report.delivered, 6 * COMMENTS);
}

#[tokio::test]
async fn slow_viewers_stay_and_are_owed_nothing() {
    let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
    let mut trial = trial(&server, 6, Encoding::Json);
    trial.audience.slow_percent = 50.0;
    let report = report_of(trial).await;
    assert_eq!((report.connected, report.slow_viewers), (6, 3));
    assert_eq!((report.expected, report.delivered), (3 * COMMENTS, 3 * COMMENTS));
    assert_eq!(faults(&report), [0; 6]);
}

#[tokio::test]
async fn reactions_are_sent_beside_comments_and_counted() {
    let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
    let mut trial = trial(&server, 2, Encoding::Json);
    trial.reactions_per_second = 150.0;
    let report = report_of(trial).await;
    assert_eq!((report.reactions_sent, report.reactions_refused), (30, 10));
    assert_eq!(report.reaction_updates, 2 * 20);
    assert_eq!((report.acked, report.delivered), (COMMENTS, 2 * COMMENTS));
}

#[tokio::test]
async fn pings_are_answered() {
    let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
    let trial = trial(&server, 3, Encoding::Json);
    let senders = trial.senders.len() as u64;
    report_of(trial).await;
    assert_eq!(server.pongs(), 3 + senders);
}

#[tokio::test]
async fn a_worker_that_is_no_worker_fails_the_run() {
    for (program, reason) in [("/bin/false", "exit status: 1"), ("/bin/true", "it ended early")] {
        let server = TestServer::start(Fault::None, UserId(USER), Encoding::Json).await;
        let mut trial = trial(&server, 4, Encoding::Json);
        trial.reach = Reach::Processes { program: program.into(), count: 2 };
        let error = trial.run(&CancellationToken::new(), &Progress::hidden()).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("was lost") && error.contains(reason), "{error}");
    }
}
