//! The table of `--what-if` on a terminal.

use super::rules::RulesOrigin;
use super::settings::UsedSetting;
use super::{LevelChange, MINUTE_MS, MinuteRow, MinuteSide, WhatIfReport};
use crate::cli::replay::pace::show_position;
use crate::cli::table::{show, table};
use crate::protocol::quantity::{show_bytes, show_count, show_rate};

/// Shares that differ by less are the same: a sample has whole comments.
const SAME_SHARE: f64 = 0.005;

pub(crate) fn format_report(report: &WhatIfReport) -> String {
    let mut rows = table(&[
        "minute",
        ">in/s",
        ">shown now",
        ">would be",
        "levels",
        ">a viewer gets",
        ">all viewers",
    ]);
    for row in &report.minutes {
        let bytes = [&row.now, &row.would_be].map(|side| (side.bytes as f64 / row.seconds) as u64);
        rows.add_row([
            show_minute(row.minute),
            show_rate(row.in_per_second),
            shown(&row.now, row.seconds),
            shown(&row.would_be, row.seconds),
            levels(row, &report.changes),
            format!("{}/s", arrow(bytes)),
            format!("{}/s", arrow(bytes.map(|bytes| bytes.saturating_mul(report.viewers)))),
        ]);
    }
    format!("{}\n{}", show(&rows, "").trim_end(), summary(report))
}

fn show_minute(minute: u64) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Returns a rate and its share, as in `53 25%`.
fn shown(side: &MinuteSide, seconds: f64) -> String {
    let share = side.share();
    let part = match share {
        all if all > 1.0 - SAME_SHARE => "all".to_owned(),
        small if small < 0.0995 => format!("{:.1}%", small * 100.0),
        part => format!("{:.0}%", part * 100.0),
    };
    format!("{} {part}", show_rate(side.shown as f64 / seconds))
}

fn levels(row: &MinuteRow, changes: &[LevelChange]) -> String {
    let of_minute = |change: &&LevelChange| change.at_ms / MINUTE_MS == row.minute;
    let text = |change: &LevelChange| {
        format!("{}→{} {}", change.from, change.to, show_position(change.at_ms))
    };
    changes.iter().filter(of_minute).map(text).collect::<Vec<_>>().join(", ")
}

/// Returns `7.6kB → 1.9kB`, or one size if both are shown the same.
fn arrow(bytes: [u64; 2]) -> String {
    let [now, would_be] = bytes.map(show_bytes);
    if now == would_be { now } else { format!("{now} → {would_be}") }
}

fn summary(report: &WhatIfReport) -> String {
    let WhatIfReport { now, would_be, minutes, .. } = report;
    let differs = |row: &&MinuteRow| (row.now.share() - row.would_be.share()).abs() >= SAME_SHARE;
    let changed = minutes.iter().filter(differs).count();
    let left_out = |totals: &super::Totals| totals.sampled_out + totals.egress_sampled_out;
    let basis = if report.now_is_recorded {
        "as recorded".to_owned()
    } else {
        match &report.now_by {
            RulesOrigin::Given | RulesOrigin::Defaults => "by the daemon's defaults".to_owned(),
            RulesOrigin::Config(path) => format!("by {path}"),
            RulesOrigin::Recording => "by the rules of the recording".to_owned(),
        }
    };
    let mut text = format!(
        "{changed} of {} minutes change; flaps {}; most seen {}/s → {}/s\nof {} comments {} are left \
         out now ({basis}), {} would be",
        minutes.len(),
        report.flaps,
        show_count(now.most_per_second),
        show_count(would_be.most_per_second),
        show_count(report.comments),
        show_count(left_out(now)),
        show_count(left_out(would_be)),
    );
    if would_be.egress_sampled_out > 0 {
        let by_egress = show_count(would_be.egress_sampled_out);
        text.push_str(&format!(", {by_egress} of them by the egress limit"));
    }
    if would_be.refused > 0 {
        let refused = show_count(would_be.refused);
        text.push_str(&format!("; {refused} more would be refused by the limit of their users"));
    }
    text.push_str(&format!("\nsettings: {}\n", settings(&report.settings)));
    text
}

/// Writes settings together that have one origin: `nodes=1 rate=none by default`.
fn settings(used: &[UsedSetting]) -> String {
    let mut text = String::new();
    for (number, setting) in used.iter().enumerate() {
        let is_last = used.get(number + 1).is_none_or(|next| next.from != setting.from);
        text.push_str(&format!("{}={}", setting.name, setting.value));
        let end = if number + 1 == used.len() { "" } else { "; " };
        let after = if is_last { format!(" {}{end}", setting.from) } else { " ".to_owned() };
        text.push_str(&after);
    }
    text
}
