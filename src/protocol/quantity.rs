//! Counts and times as people write them: `10k`, `1m`, `500ms`, `10m`.

use std::time::Duration;

/// Reads a count: digits, optionally with `k`, `m` or `g` (powers of 1000), as in `10k` or `1.5m`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a count: write 1000, 10k, 1.5m or 2g");
    let lower = text.trim().to_ascii_lowercase();
    let (digits, unit) = match lower.char_indices().next_back() {
        Some((at, 'k')) => (&lower[..at], 1e3),
        Some((at, 'm')) => (&lower[..at], 1e6),
        Some((at, 'g')) => (&lower[..at], 1e9),
        _ => (lower.as_str(), 1.0),
    };
    let digits = digits.replace('_', "");
    if unit == 1.0 {
        return digits.parse().map_err(|_| wrong());
    }
    match digits.parse::<f64>() {
        Ok(number) if number >= 0.0 && number * unit < 1e18 => Ok((number * unit).round() as u64),
        _ => Err(wrong()),
    }
}

/// Reads a time: `500ms`, `30s`, `10m`, `2h`, `7d`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|error| {
        format!("`{text}` is not a time: {error}; write 500ms, 30s, 10m, 2h or 7d")
    })
}

/// Writes a count in at most four characters and a unit: `999`, `10k`, `1.2m`.
pub fn show_count(count: u64) -> String {
    let scaled = |unit: u64, name: char| {
        let value = count as f64 / unit as f64;
        if value < 9.95 && !count.is_multiple_of(unit) {
            format!("{value:.1}{name}")
        } else {
            format!("{value:.0}{name}")
        }
    };
    match count {
        0..1_000 => count.to_string(),
        1_000..999_500 => scaled(1_000, 'k'),
        999_500..999_500_000 => scaled(1_000_000, 'm'),
        _ => scaled(1_000_000_000, 'g'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_write_them() {
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
            (1_250, "1.2k"),
            (999_499, "999k"),
            (1_000_000, "1m"),
            (2_500_000_000, "2.5g"),
        ] {
            assert_eq!(show_count(count), text);
        }
    }
}
