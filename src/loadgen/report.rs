//! What a run comes to: one object for machines, tables for people.

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::generator::Generator;
use super::submissions::ByKind;

/// Milliseconds; absent where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

impl Percentiles {
    /// From microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let ms = |micros: u64| Some(micros as f64 / 1000.0);
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(histogram.max()),
        }
    }
}

/// All viewers dropped their connections at once and came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StormReport {
    /// Seconds since the load began.
    pub at_s: f64,
    /// That were connected, and how many of them came back.
    pub viewers: u64,
    pub back: u64,
    /// Until the last was back; absent where not all were.
    pub all_back_ms: Option<f64>,
    pub back_ms: Percentiles,
}

/// The report. Field names are public: they are the keys of `--json` and of `--fail-if`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Viewers asked for, and how many of them connected.
    pub viewers: u64,
    pub connected: u64,
    /// Comments sent, and those of them that the server said are durable.
    pub published: u64,
    pub acked: u64,
    /// By comment and viewer: `expected` = `delivered` + `sampled_out` + `skipped` + `deleted` + `lost`.
    pub delivered: u64,
    pub expected: u64,
    pub sampled_out: u64,
    pub skipped: u64,
    pub deleted: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// From the intended send time to the receipt by a viewer.
    pub latency_ms: Percentiles,
    /// From the time a viewer was to connect to its welcome.
    pub connect_ms: Percentiles,
    /// From the intended send time to the ack.
    pub ack_ms: Percentiles,
    /// By error code.
    pub rejected: ByKind,
    /// Sent, and neither acked nor rejected.
    pub unanswered: u64,
    /// Never sent, because the server sent its user away.
    pub unsent: u64,
    /// `comment.deleted` messages received.
    pub deletions_seen: u64,
    pub reactions_sent: u64,
    pub reactions_refused: u64,
    /// `reactions_update` messages received.
    pub reaction_updates: u64,
    /// Viewers that never read; they are in no figure above but `viewers` and `connected`.
    pub slow_viewers: u64,
    /// Viewers that were cut off and did not come back.
    pub disconnected: u64,
    pub reconnects: u64,
    /// From a storm to a viewer's welcome, over all storms.
    pub storm_ms: Percentiles,
    pub storms: Vec<StormReport>,
    /// Why connections ended, viewers' and senders'.
    pub closed: ByKind,
    pub connect_failed: ByKind,
    /// Attempts that the server refused, by code; most are told when to try again, and do.
    pub connect_refused: ByKind,
    /// Messages that broke the protocol.
    pub malformed: u64,
    /// From the first to the last comment sent.
    pub duration_s: f64,
    pub published_per_second: f64,
    pub acked_per_second: f64,
    pub delivered_per_second: f64,
    pub generator: Generator,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
}

impl Report {
    /// As people read it.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.deliveries(), self.latencies());
        let codes = |title: &str, counts: &ByKind| {
            let each = counts.iter().map(|(code, count)| format!("{code} {count}"));
            let each = each.collect::<Vec<_>>().join(", ");
            if each.is_empty() { String::new() } else { format!("{title}: {each}\n") }
        };
        text.push('\n');
        text.push_str(&codes("rejected", &self.rejected));
        text.push_str(&codes("connections closed", &self.closed));
        text.push_str(&codes("could not connect", &self.connect_failed));
        text.push_str(&codes("refused at the door", &self.connect_refused));
        for storm in &self.storms {
            text.push_str(&storm.line());
        }
        if self.reactions_sent > 0 {
            let (sent, refused) = (self.reactions_sent, self.reactions_refused);
            let updates = self.reaction_updates;
            text.push_str(&format!(
                "reactions: {sent} sent, {refused} refused, {updates} updates received\n"
            ));
        }
        text.push_str(&self.generator.line());
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    }

    fn deliveries(&self) -> String {
        let rate = |per_second: f64| format!("{per_second:.0}");
        let none = String::new;
        let rows = [
            ("published", self.published, rate(self.published_per_second)),
            ("acked", self.acked, rate(self.acked_per_second)),
            ("rejected", self.rejected.values().sum(), none()),
            ("unanswered", self.unanswered, none()),
            ("expected (comment × viewer)", self.expected, none()),
            ("  delivered", self.delivered, rate(self.delivered_per_second)),
            ("  sampled out", self.sampled_out, none()),
            ("  skipped", self.skipped, none()),
            ("  deleted", self.deleted, none()),
            ("  lost", self.lost, none()),
            ("duplicated", self.duplicated, none()),
            ("out of order", self.out_of_order, none()),
        ];
        let row = |(name, count, per_second): (&str, u64, String)| {
            vec![name.to_owned(), count.to_string(), per_second]
        };
        lay_out(&["", "comments", "a second"], rows.into_iter().map(row).collect())
    }

    fn latencies(&self) -> String {
        let rows = [
            ("delivery, from the intended send time", self.latency_ms),
            ("ack, from the intended send time", self.ack_ms),
            ("connect", self.connect_ms),
            ("back after a storm", self.storm_ms),
        ];
        let shown = if self.storms.is_empty() { &rows[..3] } else { &rows[..] };
        let row = |(name, percentiles): (&str, Percentiles)| {
            let Percentiles { p50, p90, p99, p999, max } = percentiles;
            let show = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.1}"));
            let values = [p50, p90, p99, p999, max].map(show);
            std::iter::once(name.to_owned()).chain(values).collect()
        };
        let header = ["ms", "p50", "p90", "p99", "p99.9", "max"];
        lay_out(&header, shown.iter().copied().map(row).collect())
    }
}

impl StormReport {
    fn line(&self) -> String {
        let Self { at_s, viewers, back, all_back_ms, .. } = self;
        let when = match all_back_ms {
            Some(ms) => format!("all within {:.1} s", ms / 1000.0),
            None => "not all of them in time".to_owned(),
        };
        format!("storm at {at_s} s: {viewers} viewers dropped, {back} came back, {when}\n")
    }
}

impl Generator {
    fn line(&self) -> String {
        let memory = self.bytes_per_viewer.map(|bytes| format!(", {bytes} bytes a viewer"));
        format!(
            "generator: {} of viewers, {:.0} % of a processor, {} ms behind and {} ms late at most{}; {}\n",
            if self.processes == 1 {
                "1 process".to_owned()
            } else {
                format!("{} processes", self.processes)
            },
            self.cpu_percent,
            self.behind_ms_max,
            self.late_ms_max,
            memory.unwrap_or_default(),
            self.note
        )
    }
}

/// Without lines; the first column left, numbers right.
fn lay_out(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut latency = crate::loadgen::ledger::histogram();
        (1..=1000_u64).for_each(|n| latency.saturating_record(n * 50));
        let percentiles = Percentiles::of(&latency);
        Report {
            viewers: 1_000,
            connected: 998,
            published: 3_090,
            acked: 3_080,
            delivered: 2_900_000,
            expected: 3_073_840,
            sampled_out: 173_000,
            skipped: 700,
            deleted: 137,
            lost: 3,
            duplicated: 2,
            out_of_order: 1,
            latency_ms: percentiles,
            connect_ms: percentiles,
            ack_ms: Percentiles::default(),
            rejected: [("rate_limited".into(), 7), ("comment_empty".into(), 2)].into(),
            unanswered: 1,
            unsent: 0,
            deletions_seen: 40,
            reactions_sent: 900,
            reactions_refused: 3,
            reaction_updates: 61_000,
            slow_viewers: 10,
            disconnected: 0,
            reconnects: 4,
            storm_ms: percentiles,
            storms: vec![
                StormReport {
                    at_s: 10.0,
                    viewers: 998,
                    back: 998,
                    all_back_ms: Some(2_345.6),
                    back_ms: percentiles,
                },
                StormReport {
                    at_s: 20.5,
                    viewers: 998,
                    back: 997,
                    all_back_ms: None,
                    back_ms: percentiles,
                },
            ],
            closed: [("shutdown".into(), 4)].into(),
            connect_failed: [("node_full".into(), 2)].into(),
            connect_refused: [("connection_rate".into(), 310), ("node_full".into(), 10)].into(),
            malformed: 0,
            duration_s: 146.1,
            published_per_second: 21.2,
            acked_per_second: 21.1,
            delivered_per_second: 19_849.4,
            generator: Generator {
                processes: 2,
                late_ms_max: 3.5,
                bytes_per_viewer: Some(412),
                cpu_percent: 41.5,
                behind_ms_max: 2.5,
                bottleneck: false,
                note: "the generator kept up".to_owned(),
            },
            notes: vec!["only 998 fit".to_owned()],
        }
    }

    #[test]
    fn machines_read_the_documented_keys() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&report()).unwrap());
    }

    #[test]
    fn people_read_tables() {
        insta::assert_snapshot!(report().table());
    }

    #[test]
    fn every_figure_of_a_condition_is_in_the_report() {
        let value = serde_json::to_value(report()).unwrap();
        for text in crate::loadgen::threshold::FIGURES {
            let threshold: crate::loadgen::Threshold = format!("{text}<=1e18").parse().unwrap();
            let broken = threshold.broken_by(&value).unwrap();
            assert!(!broken.contains("nothing was measured"), "{text}: {broken}");
        }
    }
}
