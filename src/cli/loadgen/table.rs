//! The report of a run as tables and sentences for a person.

use comfy_table::{CellAlignment, Table, presets};

use crate::loadgen::{CountsByKind, GeneratorReport, Percentiles, Report, StormReport};
use crate::protocol::quantity::counted;

/// Formats the whole report.
pub(super) fn format_report(report: &Report) -> String {
    let mut text = format!("{}\n\n{}\n\n", comments_table(report), latency_table(report));
    for (title, counts) in [
        ("rejected", &report.rejected),
        ("connections closed", &report.closed),
        ("could not connect", &report.connect_failed),
        ("connections refused", &report.connect_refused),
    ] {
        text.push_str(&counts_line(title, counts));
    }
    report.storms.iter().for_each(|storm| text.push_str(&storm_line(storm)));
    if report.reactions_sent > 0 {
        let Report { reactions_sent: sent, reactions_refused: refused, .. } = report;
        let updates = report.reaction_updates;
        text.push_str(&format!(
            "reactions: {sent} sent, {refused} refused, {updates} updates received\n"
        ));
    }
    text.push_str(&generator_line(&report.generator));
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// Returns an empty text where there is nothing to count.
fn counts_line(title: &str, counts: &CountsByKind) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    format!("{title}: {}\n", counts.join(", "))
}

fn comments_table(report: &Report) -> String {
    let row = |name: &str, count: u64| vec![name.to_owned(), count.to_string(), String::new()];
    let with_rate = |name: &str, count: u64, per_second: f64| {
        vec![name.to_owned(), count.to_string(), format!("{per_second:.0}")]
    };
    let rows = vec![
        with_rate("published", report.published, report.published_per_second),
        with_rate("acked", report.acked, report.acked_per_second),
        row("rejected", report.rejected.values().sum()),
        row("unanswered", report.unanswered),
        row("expected (comment × viewer)", report.expected),
        with_rate("  delivered", report.delivered, report.delivered_per_second),
        row("  sampled out", report.sampled_out),
        row("  skipped", report.skipped),
        row("  deleted", report.deleted),
        row("  lost", report.lost),
        row("duplicated", report.duplicated),
        row("out of order", report.out_of_order),
    ];
    lay_out(&["", "comments", "per second"], rows)
}

fn latency_table(report: &Report) -> String {
    let row = |name: &str, percentiles: Percentiles| {
        let Percentiles { p50, p90, p99, p999, max } = percentiles;
        let show = |value: Option<f64>| value.map_or("–".to_owned(), |ms| format!("{ms:.1}"));
        std::iter::once(name.to_owned()).chain([p50, p90, p99, p999, max].map(show)).collect()
    };
    let mut rows: Vec<Vec<String>> = vec![
        row("delivery, from the intended send time", report.latency_ms),
        row("ack, from the intended send time", report.ack_ms),
        row("connect", report.connect_ms),
    ];
    if report.deletions_seen > 0 {
        rows.push(row("deletion, from the intended send time", report.deletion_ms));
    }
    if !report.storms.is_empty() {
        rows.push(row("back after a storm", report.storm_ms));
    }
    lay_out(&["ms", "p50", "p90", "p99", "p99.9", "max"], rows)
}

fn storm_line(storm: &StormReport) -> String {
    let StormReport { at_s, viewers, back, all_back_ms, .. } = storm;
    let when = match all_back_ms {
        Some(ms) => format!("all within {:.1} s", ms / 1000.0),
        None => "not all of them in time".to_owned(),
    };
    let viewers = counted(*viewers, "viewer");
    format!("storm at {at_s} s: {viewers} dropped, {back} came back, {when}\n")
}

fn generator_line(generator: &GeneratorReport) -> String {
    let GeneratorReport { processes, cpu_percent, behind_ms_max, late_ms_max, note, .. } =
        generator;
    let plural = if *processes == 1 { "" } else { "es" };
    let memory = generator.bytes_per_viewer.map(|bytes| format!(", {bytes} bytes per viewer"));
    format!(
        "generator: {processes} process{plural} with viewers, {cpu_percent:.0} % of a processor, at \
         most {behind_ms_max} ms behind and {late_ms_max} ms late{}; {note}\n",
        memory.unwrap_or_default()
    )
}

/// Lays out a table without lines. The first column is aligned left, the others right.
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
    use crate::loadgen::Threshold;

    fn report() -> Report {
        let percentiles = Percentiles {
            p50: Some(25.007),
            p90: Some(45.023),
            p99: Some(49.503),
            p999: Some(49.951),
            max: Some(50.015),
        };
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
            deletion_ms: percentiles,
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
            generator: GeneratorReport {
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
    fn json_has_the_documented_keys() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&report()).unwrap());
    }

    #[test]
    fn tables_show_every_figure() {
        insta::assert_snapshot!(format_report(&report()));
    }

    #[test]
    fn every_threshold_figure_is_in_the_report() {
        let value = serde_json::to_value(report()).unwrap();
        for text in Threshold::figures() {
            let threshold: Threshold = format!("{text}<=1e18").parse().unwrap();
            let broken = threshold.broken_by(&value).unwrap();
            assert!(!broken.contains("nothing was measured"), "{text}: {broken}");
        }
    }
}
