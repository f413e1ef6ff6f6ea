//! `/metrics`: the node's counters, and gauges read at the time of the request.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::state::Operations;
use crate::daemon::base::log_output::lost_lines;
use crate::daemon::base::status::{StatusBoard, WorkerGauges};
use crate::protocol::admin::{BreakerState, BreakerStatus, ConsumerLag, Problem};

/// The time limit for the consumer lag, which is left out if the log takes longer. Scrapers wait 10
/// s.
const LAG_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn metrics(State(operations): State<Operations>) -> Response {
    let mut extra = String::new();
    let Operations { board, log } = operations;
    put_node(&mut extra, &board);
    put_workers(&mut extra, &board.workers());
    put_breakers(&mut extra, &board.breakers());
    put_problems(&mut extra, &board.problems().list());
    match tokio::time::timeout(LAG_TIMEOUT, log.lag()).await {
        Ok(Ok(lag)) => put_lag(&mut extra, &lag),
        Ok(Err(error)) => tracing::debug!(%error, "metrics without consumer lag"),
        Err(_) => tracing::debug!("metrics without consumer lag: the log is slow"),
    }
    board.set_connection_gauges();
    let text = board.metrics().render(&extra);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

fn put_node(out: &mut String, board: &StatusBoard) {
    head(out, "ready", "gauge", "1 while the node takes viewers");
    sample(out, "ready", &[], u8::from(board.is_ready()));
    head(out, "log_lines_lost", "counter", "Lines of the log that could not be written");
    sample(out, "log_lines_lost_total", &[], lost_lines());
}

/// A metric of delivery workers: name, kind, help, and the gauge it is read from.
type WorkerFamily = (&'static str, &'static str, &'static str, fn(&WorkerGauges) -> &AtomicU64);

fn put_workers(out: &mut String, workers: &[Arc<WorkerGauges>]) {
    let families: [WorkerFamily; 6] = [
        ("worker_connections", "gauge", "Viewers of a delivery worker", |w| &w.connections),
        ("worker_slow_viewers", "gauge", "Viewers of a worker that are behind", |w| {
            &w.slow_viewers
        }),
        ("worker_busy_us", "counter", "Microseconds a worker was busy", |w| &w.busy_us),
        ("worker_frames", "counter", "Frames a worker wrote", |w| &w.frames),
        ("worker_delivered", "counter", "Comments a worker delivered", |w| &w.delivered),
        ("worker_sent_bytes", "counter", "Bytes a worker wrote", |w| &w.bytes_out),
    ];
    for (name, kind, help, measure) in families {
        head(out, name, kind, help);
        let suffixed = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        for (index, worker) in workers.iter().enumerate() {
            let value = measure(worker).load(Ordering::Relaxed);
            sample(out, &suffixed, &[("worker", &index)], value);
        }
    }
}

fn put_problems(out: &mut String, problems: &[Problem]) {
    head(out, "problem", "gauge", "Problems that last until they are solved");
    for Problem { code, subject, .. } in problems {
        sample(out, "problem", &[("code", code), ("subject", subject)], 1);
    }
}

fn put_breakers(out: &mut String, breakers: &[BreakerStatus]) {
    head(out, "breaker_state", "gauge", "Circuit breakers: 0 closed, 1 half-open, 2 open");
    for breaker in breakers {
        let value = match breaker.state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        sample(out, "breaker_state", &[("dependency", &breaker.dependency)], value);
    }
}

fn put_lag(out: &mut String, lag: &[ConsumerLag]) {
    head(out, "consumer_lag", "gauge", "Records a consumer group is behind");
    for entry in lag {
        let labels: [(&str, &dyn Display); 3] =
            [("group", &entry.group), ("topic", &entry.topic), ("partition", &entry.partition)];
        sample(out, "consumer_lag", &labels, entry.lag);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP lcd_{name} {help}.\n# TYPE lcd_{name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
    let _ = write!(out, "lcd_{name}");
    for (index, (label, text)) in labels.iter().enumerate() {
        let opening = if index == 0 { '{' } else { ',' };
        let escaped = text.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(out, "{opening}{label}=\"{}\"", escaped.replace('\n', "\\n"));
    }
    let closing = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(out, "{closing} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_counters_end_in_total() {
        let board = StatusBoard::default();
        board.add_worker().busy_us.store(7, Ordering::Relaxed);
        let mut out = String::new();
        put_workers(&mut out, &board.workers());
        let group = "a\"b\\c".to_owned();
        let topic = "comment_events".to_owned();
        let lag = ConsumerLag { group, topic, partition: 3, position: 1, end: 5, lag: 4 };
        put_lag(&mut out, &[lag]);
        assert!(out.contains("lcd_worker_busy_us_total{worker=\"0\"} 7\n"), "{out}");
        let line = r#"lcd_consumer_lag{group="a\"b\\c",topic="comment_events",partition="3"} 4"#;
        assert!(out.contains(line), "{out}");
    }
}
