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
            encodings: vec![encoding],
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
