//! How figures are written: four characters and a unit, `k`, `M` and `G` for powers of 1000.

use crate::protocol::quantity::{
    show_bytes, show_clock, show_count, show_counted, show_duration, show_rate,
};

/// Writes an unknown figure.
pub(crate) const UNKNOWN: &str = "–";

pub(crate) fn count(count: u64) -> String {
    show_count(count)
}

/// Writes `1.9k/s`, or `–/s` if the rate is not known.
pub(crate) fn per_second(rate: Option<f64>) -> String {
    format!("{}/s", plain_rate(rate))
}

/// Writes `1.9k`, for a column whose header has the unit.
pub(crate) fn plain_rate(rate: Option<f64>) -> String {
    rate.map_or(UNKNOWN.to_owned(), show_rate)
}

/// Writes `+60/s`, `−288/s` or `±0/s`.
pub(crate) fn change(rate: f64) -> String {
    match rate {
        up if up >= 0.05 => format!("+{}/s", show_rate(up)),
        down if down <= -0.05 => format!("−{}/s", show_rate(-down)),
        _ => "±0/s".to_owned(),
    }
}

/// Writes `1.2 GB/s`.
pub(crate) fn bytes_per_second(rate: Option<f64>) -> String {
    let Some(rate) = rate else { return format!("{UNKNOWN} B/s") };
    let text = show_bytes(rate.max(0.0) as u64);
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    format!("{} {}/s", &text[..unit], &text[unit..])
}

/// Writes a share of one: `0.31 %`, `13 %`, `99.91 %`, `100 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent {
        zero if zero <= 0.0 => 0,
        // Never 100 for less than all.
        high if (99.0..100.0).contains(&high) => return format!("{:.2} %", high.min(99.99)),
        low if low < 0.995 => 2,
        middle if middle < 9.95 => 1,
        _ => 0,
    };
    format!("{percent:.digits$} %")
}

/// Writes a share of one in at most five characters: `0 %`, `<1 %`, `13 %`, `99 %`, `100 %`.
pub(crate) fn whole_percent(share: f64) -> String {
    match share * 100.0 {
        zero if zero <= 0.0 => "0 %".to_owned(),
        low if low < 1.0 => "<1 %".to_owned(),
        // Never 100 for less than all.
        high if (99.0..100.0).contains(&high) => "99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// Writes an age: `0:41`, `2:14:09`, `12d 4h`.
pub(crate) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3_600..86_400 => {
            format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
        }
        _ => show_duration(ms),
    }
}

/// Writes a time as `09:46:48`, in UTC.
pub(crate) fn clock(at_ms: u64) -> String {
    show_clock(at_ms)
}

/// Writes a count with its noun: `3 streams`, `1 stream`, `12k streams`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    show_counted(number, noun)
}

/// The bars of a chart of one row, from nothing to all.
pub(crate) const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// Stands in a chart where nothing is known.
pub(crate) const GAP: &str = "·";

/// Draws values as bars against the largest of them, or against `most`.
pub(crate) fn bars(values: &[Option<f64>], most: f64) -> String {
    let bar = |value: &Option<f64>| match value {
        None => GAP,
        Some(value) if most > 0.0 => {
            let eighths = (value.max(0.0) / most * 8.0).ceil() as usize;
            BARS[eighths.clamp(1, 8) - 1]
        }
        Some(_) => BARS[0],
    };
    values.iter().map(bar).collect()
}

/// Draws values as bars against the largest of them.
pub(crate) fn spark(values: &[Option<f64>]) -> String {
    bars(values, values.iter().flatten().copied().fold(0.0, f64::max))
}

/// Writes a latency: `84 ms`, `0.4 ms`, `2.1 s`.
pub(crate) fn latency(ms: Option<f64>) -> String {
    match ms {
        None => UNKNOWN.to_owned(),
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) if ms < 9_950.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

/// Writes how far behind something is in time: `20 ms`, `8 s`, `3:53`.
pub(crate) fn lateness(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{} s", ms / 1_000),
        _ => age(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        assert_eq!(per_second(Some(34_600_000.0)), "35M/s");
        assert_eq!(per_second(None), "–/s");
        assert_eq!(bytes_per_second(Some(1.2e9)), "1.2 GB/s");
        assert_eq!(bytes_per_second(Some(12.0)), "12 B/s");
        assert_eq!([60.0, -288.0, 0.01].map(change), ["+60/s", "−288/s", "±0/s"]);
        let shares = [0.0, 0.0031, 0.042, 0.13, 0.9991, 0.999_999, 1.0].map(percent);
        assert_eq!(shares, ["0 %", "0.31 %", "4.2 %", "13 %", "99.91 %", "99.99 %", "100 %"]);
        let shares = [0.0, 0.0001, 0.042, 0.63, 0.9991, 1.0].map(whole_percent);
        assert_eq!(shares, ["0 %", "<1 %", "4 %", "63 %", "99 %", "100 %"]);
        assert_eq!([41_000, 8_049_000].map(age), ["0:41", "2:14:09"]);
        assert_eq!(spark(&[Some(0.0), None, Some(4.0), Some(8.0)]), "▁·▄█");
        let latencies = [Some(0.42), Some(84.2), Some(12_000.0), None].map(latency);
        assert_eq!(latencies, ["0.4 ms", "84 ms", "12.0 s", "–"]);
        assert_eq!([20, 8_900, 233_000].map(lateness), ["20 ms", "8 s", "3:53"]);
        assert_eq!(clock(1_795_254_408_000), "09:46:48");
        assert_eq!((counted(1, "node"), counted(0, "node")), ("1 node".into(), "0 nodes".into()));
    }
}
