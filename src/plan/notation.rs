//! Numbers as a plan shows them: three digits, so that a formula can be computed again.

/// Formats a number with three significant digits: `0.063`, `7.07`, `12.5k`, `5M`.
pub(super) fn number(value: f64) -> String {
    let (scaled, prefix) = scale(value);
    format!("{}{prefix}", digits(scaled))
}

/// Formats a value with its unit: `2.01 Gbit/s`, `1.12 GB`, `86.2 ms`.
pub fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() {
        return number(value);
    }
    if unit == "s" && value < 1.0 {
        let (scaled, unit) = if value < 1e-3 { (value * 1e6, "µs") } else { (value * 1e3, "ms") };
        return format!("{} {unit}", digits(scaled));
    }
    // Only these take prefixes.
    if !["B", "bit"].iter().any(|prefixed| unit.starts_with(prefixed)) {
        return format!("{} {unit}", number(value));
    }
    let (scaled, prefix) = scale(value);
    // The SI prefix is a small k.
    format!("{} {prefix}{unit}", digits(scaled))
}

fn scale(value: f64) -> (f64, &'static str) {
    // From the value that three digits would show as a thousand.
    match value.abs() {
        small if small < 999.5 => (value, ""),
        thousands if thousands < 999.5e3 => (value / 1e3, "k"),
        millions if millions < 999.5e6 => (value / 1e6, "M"),
        billions if billions < 999.5e9 => (value / 1e9, "G"),
        _ => (value / 1e12, "T"),
    }
}

fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = if size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else if size >= 0.9995 {
        2
    } else if size > 0.0 {
        // Leading zeros do not count.
        (2 - size.log10().floor() as i32).clamp(2, 9) as usize
    } else {
        0
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.0626, "0.0626"),
            (0.5, "0.5"),
            (7.074, "7.07"),
            (20.0, "20"),
            (99.96, "100"),
            (999.6, "1k"),
            (12_530.0, "12.5k"),
            (5e6, "5M"),
            (1.25e13, "12.5T"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
        assert_eq!(with_unit(2.006e9, "bit/s"), "2.01 Gbit/s");
        assert_eq!(with_unit(0.0862, "s"), "86.2 ms");
        assert_eq!(with_unit(0.000_086_2, "s"), "86.2 µs");
        assert_eq!(with_unit(29.0, ""), "29");
    }

    proptest! {
        #[test]
        fn a_number_is_shown_within_half_a_percent(exponent in -3.0_f64..13.0) {
            let value = 10_f64.powf(exponent);
            let text = number(value);
            let (number, unit) = match text.char_indices().next_back() {
                Some((at, 'k')) => (&text[..at], 1e3),
                Some((at, 'M')) => (&text[..at], 1e6),
                Some((at, 'G')) => (&text[..at], 1e9),
                Some((at, 'T')) => (&text[..at], 1e12),
                _ => (text.as_str(), 1.0),
            };
            let shown = number.parse::<f64>().unwrap() * unit;
            prop_assert!((shown / value - 1.0).abs() < 0.005_1, "{value} as {text}");
        }
    }
}
