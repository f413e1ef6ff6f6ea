//! Parses and formats counts, durations and shares: `10k`, `1M`, `500ms`, `10m`, `10%`.

use std::time::{Duration, UNIX_EPOCH};

use super::throttle::SampleRate;

/// Parses a count: digits, optionally with `k`, `M` or `G` (powers of 1000; small letters as well),
/// as in `10k` or `1.5M`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let invalid = || format!("`{text}` is not a count: write 1000, 10k, 1.5M or 2G");
    let lower = text.trim().to_ascii_lowercase();
    let (digits, unit) = match lower.char_indices().next_back() {
        Some((at, 'k')) => (&lower[..at], 1e3),
        Some((at, 'm')) => (&lower[..at], 1e6),
        Some((at, 'g')) => (&lower[..at], 1e9),
        _ => (lower.as_str(), 1.0),
    };
    let digits = digits.replace('_', "");
    if unit == 1.0 {
        return digits.parse().map_err(|_| invalid());
    }
    match digits.parse::<f64>() {
        Ok(number) if number >= 0.0 && number * unit < 1e18 => Ok((number * unit).round() as u64),
        _ => Err(invalid()),
    }
}

/// Parses a duration: `500ms`, `30s`, `10m`, `2h`, `7d`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|error| {
        format!("`{text}` is not a duration: {error}; write 500ms, 30s, 10m, 2h or 7d")
    })
}

/// Formats a count in at most four characters and a unit: `999`, `10k`, `1.2M`, `3G`. The units are
/// powers of 1000; a small `m` is left to minutes.
pub fn show_count(count: u64) -> String {
    let scaled = |unit: u64, name: char| {
        let value = count as f64 / unit as f64;
        let digits = if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") };
        format!("{}{name}", digits.trim_end_matches(".0"))
    };
    match count {
        0..1_000 => count.to_string(),
        1_000..999_500 => scaled(1_000, 'k'),
        999_500..999_500_000 => scaled(1_000_000, 'M'),
        _ => scaled(1_000_000_000, 'G'),
    }
}

/// Writes a count with its noun: `3 connections`, `1 connection`.
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Writes `1 viewer` or `398k viewers`.
pub fn show_counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", show_count(count))
}

/// Formats a rate: `0`, `0.4`, `23`, `1.2k`.
pub fn show_rate(per_second: f64) -> String {
    // A negative rate or a NaN is shown as 0.
    match per_second.max(0.0) {
        tiny if tiny < 0.05 => "0".to_owned(),
        small if small < 9.95 => format!("{small:.1}").trim_end_matches(".0").to_owned(),
        large => show_count(large.round() as u64),
    }
}

/// Formats a size in bytes: `999B`, `1.2MB`.
pub fn show_bytes(bytes: u64) -> String {
    format!("{}B", show_count(bytes))
}

/// Formats a duration in its two largest units: `42ms`, `7s`, `3m 20s`, `5h 2m`, `12d 4h`.
pub fn show_duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let pair = |large: u64, name: char, small: u64, rest: char| {
        let whole = seconds / large;
        let part = seconds % large / small;
        if part == 0 { format!("{whole}{name}") } else { format!("{whole}{name} {part}{rest}") }
    };
    match seconds {
        0 if ms > 0 => format!("{ms}ms"),
        0..60 => format!("{seconds}s"),
        60..3_600 => pair(60, 'm', 1, 's'),
        3_600..86_400 => pair(3_600, 'h', 60, 'm'),
        _ => pair(86_400, 'd', 3_600, 'h'),
    }
}

/// Writes a time as `2026-11-21 09:46:48`, in UTC.
pub fn show_time(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms.min(253_402_300_799_000));
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").replace('Z', "")
}

/// Parses a time to come, in milliseconds since the Unix epoch: a duration from now, such as `2h`,
/// or a time in UTC as [`show_time`] writes it; `T` and `Z` may be in it, and seconds left out.
pub fn parse_start(text: &str, now_ms: u64) -> Result<u64, String> {
    let text = text.trim();
    if let Ok(duration) = parse_duration(text) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        return Ok(now_ms.saturating_add(ms));
    }
    let minutes_only = text.trim_end_matches('Z').matches(':').count() == 1;
    let whole =
        if minutes_only { format!("{}:00", text.trim_end_matches('Z')) } else { text.to_owned() };
    let at = humantime::parse_rfc3339_weak(&whole).ok();
    let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let at = at.and_then(|at| u64::try_from(at.as_millis()).ok());
    at.ok_or_else(|| {
        "must be a duration from now, such as 2h, or a time in UTC, such as 2026-11-21 19:30"
            .to_owned()
    })
}

/// Writes a time of day as `09:46:48`, in UTC.
pub fn show_clock(at_ms: u64) -> String {
    show_time(at_ms).split_off("2026-11-21 ".len())
}

/// Parses a share: `0.1`, `10%`, `1/10`, `all`, `none`.
pub fn parse_share(text: &str) -> Result<SampleRate, String> {
    let text = text.trim();
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    let share = if let Some(percent) = text.strip_suffix('%') {
        number(percent).map(|percent| percent / 100.0)
    } else if let Some((part, whole)) = text.split_once('/') {
        number(part).zip(number(whole)).map(|(part, whole)| part / whole)
    } else {
        match text.to_ascii_lowercase().as_str() {
            "all" => Some(1.0),
            "none" => Some(0.0),
            digits => number(digits),
        }
    };
    share.and_then(SampleRate::from_share).ok_or_else(|| {
        format!(
            "`{text}` is not a share: write 0.1, 10%, 1/10, all or none (0 to 1, or 0% to 100%)"
        )
    })
}

/// Formats a share: `all`, `10%`, `0.5%`, `none`.
pub fn show_share(rate: SampleRate) -> String {
    match rate {
        SampleRate::ALL => "all".to_owned(),
        SampleRate::NONE => "none".to_owned(),
        // Four decimal places of a percentage are exact for parts per million.
        rate => {
            let percent = format!("{:.4}", rate.share() * 100.0);
            format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_time_or_lies_ahead() {
        let now_ms = 1_795_254_408_000;
        assert_eq!(parse_start("2h", now_ms), Ok(now_ms + 7_200_000));
        for same in ["2026-11-21 09:46:48", "2026-11-21T09:46:48Z", " 2026-11-21 09:46:48 "] {
            assert_eq!(parse_start(same, 0), Ok(now_ms), "{same}");
        }
        for short in ["2026-11-21 09:46", "2026-11-21T09:46Z"] {
            assert_eq!(parse_start(short, 0), Ok(now_ms - 48_000), "{short}");
        }
        for bad in ["", "tomorrow", "2026-13-01 00:00", "1969-12-31 23:59", "09:46", "\u{1b}[2J"] {
            assert!(parse_start(bad, now_ms).unwrap_err().contains("2026-11-21"), "{bad:?}");
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(show_time(1_795_254_408_000), "2026-11-21 09:46:48");
        assert_eq!(show_clock(1_795_254_408_999), "09:46:48");
        assert_eq!(show_clock(u64::MAX), "23:59:59");
    }

    #[test]
    fn rates_and_sizes_are_shown_short() {
        for (rate, text) in
            [(f64::NAN, "0"), (-1.0, "0"), (0.04, "0"), (0.42, "0.4"), (3.0, "3"), (9.96, "10")]
        {
            assert_eq!(show_rate(rate), text, "{rate}");
        }
        assert_eq!(show_rate(23_400.0), "23k");
        assert_eq!([999, 1_200, 2_100_000_000].map(show_bytes), ["999B", "1.2kB", "2.1GB"]);
    }

    #[test]
    fn durations_are_shown_in_two_units() {
        for (ms, text) in [
            (0, "0s"),
            (42, "42ms"),
            (7_900, "7s"),
            (200_000, "3m 20s"),
            (600_000, "10m"),
            (18_120_000, "5h 2m"),
            (1_051_200_000, "12d 4h"),
        ] {
            assert_eq!(show_duration(ms), text);
        }
    }

    #[test]
    fn shares_are_parsed_in_every_form() {
        for (text, ppm, shown) in [
            ("0.1", 0.1, "10%"),
            ("10%", 0.1, "10%"),
            ("1/20", 0.05, "5%"),
            ("ALL", 1.0, "all"),
            ("none", 0.0, "none"),
            ("0.25%", 0.0025, "0.25%"),
        ] {
            let rate = parse_share(text).unwrap();
            assert_eq!(Some(rate), SampleRate::from_share(ppm), "{text}");
            assert_eq!(show_share(rate), shown);
        }
        for text in ["", "auto", "110%", "-1", "2", "1/0", "nan", "0/0", "%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_parsed_in_every_form() {
        for (text, count) in [
            ("0", 0),
            ("1000", 1000),
            ("10k", 10_000),
            ("1m", 1_000_000),
            ("1.5M", 1_500_000),
            ("1_000", 1000),
        ] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "k", "-1", "1.5", "1x", "9e99", "nan", "99999999999999999999g"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_shown_short() {
        for (count, text) in [
            (7, "7"),
            (999, "999"),
            (1_000, "1k"),
            (1_001, "1k"),
            (9_951, "10k"),
            (1_250, "1.2k"),
            (999_499, "999k"),
            (1_000_000, "1M"),
            (2_500_000_000, "2.5G"),
        ] {
            assert_eq!(show_count(count), text);
        }
    }
}
