//! `/metrics`: the node's counters, and gauges read at the time of the request.

mod telemetry;

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::AHashSet;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use self::telemetry::put_telemetry;
use super::openapi::{Operation, Tag};
use super::state::Operations;
use crate::daemon::base::log_output::lost_lines;
use crate::daemon::base::status::{StatusBoard, WorkerGauges};
use crate::protocol::admin::{BreakerState, BreakerStatus, ConsumerLag, Problem, TransportKind};

/// The time limit for the consumer lag, which is left out if the log takes longer. Scrapers wait 10
/// s.
const LAG_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers in the format that `Accept` asks for: OpenMetrics, or the older text format.
pub(super) async fn metrics(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    let format = Format::accepted(&headers);
    let mut extra = String::new();
    let Operations { board, log } = operations;
    put_node(&mut extra, &board);
    put_telemetry(&mut extra, board.telemetry());
    put_workers(&mut extra, &board.workers());
    put_breakers(&mut extra, &board.breakers());
    put_problems(&mut extra, &board.problems().list());
    match tokio::time::timeout(LAG_TIMEOUT, log.lag()).await {
        Ok(Ok(lag)) => put_lag(&mut extra, &lag),
        Ok(Err(error)) => tracing::debug!(%error, "metrics without consumer lag"),
        Err(_) => tracing::debug!("metrics without consumer lag: the log is slow"),
    }
    put_held(&mut extra, &board.held_records());
    board.set_connection_gauges();
    let text = board.metrics().render(&extra);
    match format {
        Format::OpenMetrics => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Format::Text => ([(CONTENT_TYPE, TEXT)], to_text_format(&text)).into_response(),
    }
}

pub(super) fn describe(operation: &mut Operation<'_>) {
    let text = json!({ "type": "string" });
    operation
        .named(Tag::Operation, "get_metrics", "Returns the metrics of the node")
        .at_root()
        .text("`Accept` chooses the format: OpenMetrics, or the older text format of Prometheus.")
        .answer_as(200, OPEN_METRICS, text.clone(), "The metrics.")
        .answer_as(200, TEXT, text, "The metrics.");
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The formats of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Text,
}

impl Format {
    /// Returns the format with the highest weight in `Accept`. Without a preference it is
    /// OpenMetrics.
    fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
        let open = weight(&ranges, "application", "openmetrics-text");
        let text = weight(&ranges, "text", "plain");
        if text > open { Self::Text } else { Self::OpenMetrics }
    }
}

/// Returns the weight (`q`) of a media type: that of the most specific range that matches it, or 0
/// if none does.
fn weight(ranges: &[&str], kind: &str, subtype: &str) -> f32 {
    let mut best = (0, 0.0);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specific = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((of, "*")) if of == kind => 2,
            Some((of, exact)) if of == kind && exact == subtype => 3,
            _ => continue,
        };
        let q = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| {
            let name = name.trim();
            name.eq_ignore_ascii_case("q")
        });
        let q = q.map_or(Some(1.0), |(_, q)| q.trim().parse::<f32>().ok()).unwrap_or(0.0);
        // Of equally specific ranges, such as two versions of one type, the best counts.
        if specific > best.0 || (specific == best.0 && q > best.1) {
            best = (specific, q);
        }
    }
    best.1
}

/// Converts OpenMetrics to the text format 0.0.4: there a counter is described under the name of
/// its samples, units have no line, and nothing marks the end.
fn to_text_format(open_metrics: &str) -> String {
    let mut counters = AHashSet::new();
    for line in open_metrics.lines() {
        let name = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter"));
        counters.extend(name);
    }
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|head| {
            let (name, rest) = line.strip_prefix(head)?.split_once(' ')?;
            counters.contains(name).then_some((head, name, rest))
        });
        // Writing to a String cannot fail.
        let _ = match described {
            Some((head, name, rest)) => writeln!(text, "{head}{name}_total {rest}"),
            None if line == "# EOF" || line.starts_with("# UNIT ") => Ok(()),
            None => writeln!(text, "{line}"),
        };
    }
    text
}

fn put_node(out: &mut String, board: &StatusBoard) {
    head(out, "ready", "gauge", "1 while the node serves its roles");
    sample(out, "ready", &[], u8::from(board.serves()));
    head(out, "senders", "gauge", "Connections that have sent a comment");
    sample(out, "senders", &[], board.senders());
    head(out, "transport_connections", "gauge", "Connections of each transport");
    let transports = board.connections_by_transport();
    for kind in TransportKind::ALL {
        sample(out, "transport_connections", &[("transport", &kind)], transports.of(kind));
    }
    head(out, "log_lines_lost", "counter", "Lines of the log that could not be written");
    sample(out, "log_lines_lost_total", &[], lost_lines());
}

/// A metric of delivery workers: name, kind, help, and the gauge it is read from.
type WorkerFamily = (&'static str, &'static str, &'static str, fn(&WorkerGauges) -> &AtomicU64);

fn put_workers(out: &mut String, workers: &[Arc<WorkerGauges>]) {
    let families: [WorkerFamily; 6] = [
        ("worker_connections", "gauge", "Connections of a delivery worker", |w| &w.connections),
        ("worker_slow_viewers", "gauge", "Connections of a worker that are behind", |w| {
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
    head(out, "consumer_lag_seconds", "gauge", "Age of the oldest record not read, if it is known");
    for entry in lag {
        let Some(ms) = entry.oldest_ms else { continue };
        let labels: [(&str, &dyn Display); 3] =
            [("group", &entry.group), ("topic", &entry.topic), ("partition", &entry.partition)];
        sample(out, "consumer_lag_seconds", &labels, ms as f64 / 1e3);
    }
    head(out, "consumer_expired", "gauge", "Records removed before a consumer group read them");
    for entry in lag {
        let labels: [(&str, &dyn Display); 3] =
            [("group", &entry.group), ("topic", &entry.topic), ("partition", &entry.partition)];
        sample(out, "consumer_expired", &labels, entry.expired);
    }
}

/// The consumer lag counts these records: only the node that holds them back knows them.
fn put_held(out: &mut String, held: &BTreeMap<u32, u64>) {
    head(out, "records_held", "gauge", "Records read here that message delays hold back");
    for (partition, records) in held {
        sample(out, "records_held", &[("partition", partition)], records);
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

    fn format(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Format::accepted(&headers)
    }

    #[test]
    fn the_format_is_the_one_asked_for() {
        for text in [
            "text/plain;version=0.0.4",
            "TEXT/PLAIN",
            "text/*",
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.25",
            "application/openmetrics-text;q=0, */*;q=0.1",
            "text/html, text/plain; Q=0.9, */*;q=0.8",
        ] {
            assert_eq!(format(text), Format::Text, "{text}");
        }
        for open in [
            "*/*",
            "",
            "application/json",
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/plain;q=0",
            "text/plain;q=nonsense",
        ] {
            assert_eq!(format(open), Format::OpenMetrics, "{open}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::OpenMetrics);
    }

    #[test]
    fn the_text_format_names_counters_as_its_samples() {
        let board = StatusBoard::default();
        let mut extra = String::new();
        put_node(&mut extra, &board);
        let text = to_text_format(&board.metrics().render(&extra));
        assert!(text.contains("# TYPE lcd_comments_received_total counter\n"), "{text}");
        assert!(text.contains("# HELP lcd_comments_received_total "), "{text}");
        assert!(text.contains("\nlcd_comments_received_total 0\n"), "{text}");
        assert!(text.contains("# TYPE lcd_ready gauge\n"), "{text}");
        assert!(!text.contains("# EOF") && text.ends_with('\n'), "{text}");
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let mut words = line.split(' ').skip(2);
            let name = words.next().unwrap();
            let kind = words.next().unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        }
    }

    #[test]
    fn every_metric_is_described_in_the_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let document = std::fs::read_to_string(path).unwrap();
        let board = StatusBoard::default();
        board.sample(std::path::Path::new("/"));
        let mut extra = String::new();
        put_node(&mut extra, &board);
        put_telemetry(&mut extra, board.telemetry());
        put_breakers(&mut extra, &board.breakers());
        put_problems(&mut extra, &board.problems().list());
        put_lag(&mut extra, &[]);
        put_held(&mut extra, &board.held_records());
        let text = to_text_format(&board.metrics().render(&extra));
        let mut missing = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap_or_default();
            let is_described =
                ['`', '{'].iter().any(|end| document.contains(&format!("`{name}{end}")));
            if !is_described {
                missing.push(name);
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn labels_are_escaped_and_counters_end_in_total() {
        let board = StatusBoard::default();
        board.add_worker().busy_us.store(7, Ordering::Relaxed);
        let mut out = String::new();
        put_workers(&mut out, &board.workers());
        let group = "a\"b\\c".to_owned();
        let topic = "comment_events".to_owned();
        let lag = ConsumerLag {
            group,
            topic,
            partition: 3,
            position: 1,
            end: 5,
            lag: 4,
            expired: 2,
            oldest_ms: Some(8_250),
            ..ConsumerLag::default()
        };
        put_lag(&mut out, &[lag]);
        put_held(&mut out, &BTreeMap::from([(3, 7)]));
        assert!(out.contains("lcd_records_held{partition=\"3\"} 7\n"), "{out}");
        assert!(out.contains("lcd_worker_busy_us_total{worker=\"0\"} 7\n"), "{out}");
        let line = r#"lcd_consumer_lag{group="a\"b\\c",topic="comment_events",partition="3"} 4"#;
        assert!(out.contains(line), "{out}");
        let line = r#"lcd_consumer_lag_seconds{group="a\"b\\c",topic="comment_events",partition="3"} 8.25"#;
        assert!(out.contains(line), "{out}");
        let line =
            r#"lcd_consumer_expired{group="a\"b\\c",topic="comment_events",partition="3"} 2"#;
        assert!(out.contains(line), "{out}");
    }
}
