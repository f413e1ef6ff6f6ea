//! Numbers with units, as the values of filters have them.

use super::Kind;

/// The kind of unit that a number has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// No unit, or a power of 1000.
    Plain,
    Percent,
    Time,
    Bytes,
}

/// A number in the base unit of its kind: a count, a share of 1, milliseconds, bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    /// Rounded to what an `f64` holds.
    pub value: f64,
    /// The exact value, if it is a whole number of the base unit.
    pub whole: Option<i128>,
    pub unit: Unit,
}

impl Quantity {
    /// Parses `12`, `10k`, `1.5M`, `13%`, `84ms`, `1h30m`, `100MB`; a rate may end in `/s`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix("/s").unwrap_or(text);
        let (number, name) = split_number(text)?;
        if let Some((factor, unit)) = unit(name) {
            let digits = &text[..text.len() - name.len()];
            let whole = match unit {
                Unit::Percent => whole(digits, 1).filter(|it| it % 100 == 0).map(|it| it / 100),
                Unit::Plain | Unit::Time | Unit::Bytes => whole(digits, factor as i128),
            };
            let quantity = Self { value: number * factor, whole, unit };
            return quantity.value.is_finite().then_some(quantity);
        }
        let Time { ms: value, whole_us } = duration(text)?;
        let whole = whole_us.filter(|us| us % 1_000 == 0).map(|us| us / 1_000);
        value.is_finite().then_some(Self { value, whole, unit: Unit::Time })
    }

    /// Returns whether the number can be a value of a column of this kind.
    pub fn fits(self, kind: Kind) -> bool {
        match (kind, self.unit) {
            (Kind::Number | Kind::Share | Kind::Duration | Kind::Bytes, Unit::Plain)
            | (Kind::Share, Unit::Percent)
            | (Kind::Duration, Unit::Time)
            | (Kind::Bytes, Unit::Bytes)
            | (Kind::Text | Kind::Word(_), _) => true,
            (
                Kind::Number | Kind::Share | Kind::Duration | Kind::Bytes | Kind::Flag,
                Unit::Plain | Unit::Percent | Unit::Time | Unit::Bytes,
            ) => false,
        }
    }
}

/// Splits a number off the front: digits with at most one point, and a sign.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let length = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    if !digits[..length].contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let end = text.len() - digits.len() + length;
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Multiplies a number, as [`split_number`] splits it off, by a factor. Returns `None` if the
/// product has a fraction or is too large.
fn whole(number: &str, factor: i128) -> Option<i128> {
    let (before, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: i128 = format!("{before}{fraction}").parse().ok().or_else(|| {
        // `.0` has no digits that count.
        (before.is_empty() && fraction.is_empty()).then_some(0)
    })?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = digits.checked_mul(factor)?;
    (product % scale == 0).then(|| product / scale)
}

fn unit(name: &str) -> Option<(f64, Unit)> {
    let (factor, unit) = match name {
        "" => (1.0, Unit::Plain),
        "k" | "K" => (1e3, Unit::Plain),
        "M" => (1e6, Unit::Plain),
        "G" => (1e9, Unit::Plain),
        "T" => (1e12, Unit::Plain),
        "%" => (0.01, Unit::Percent),
        "B" => (1.0, Unit::Bytes),
        "kB" | "KB" => (1e3, Unit::Bytes),
        "MB" => (1e6, Unit::Bytes),
        "GB" => (1e9, Unit::Bytes),
        "TB" => (1e12, Unit::Bytes),
        "KiB" => (1024.0, Unit::Bytes),
        "MiB" => (1024.0 * 1024.0, Unit::Bytes),
        "GiB" => (1024.0 * 1024.0 * 1024.0, Unit::Bytes),
        _ => return None,
    };
    Some((factor, unit))
}

/// A duration as it is written.
struct Time {
    ms: f64,
    /// Microseconds, if they are a whole number.
    whole_us: Option<i128>,
}

/// Parses `84ms`, `1.5s`, `1h30m`.
fn duration(mut text: &str) -> Option<Time> {
    let mut total = Time { ms: 0.0, whole_us: Some(0) };
    while !text.is_empty() {
        let (number, rest) = split_number(text)?;
        if number < 0.0 {
            return None;
        }
        let length = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let factor_us: u64 = match &rest[..length] {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        total.ms += number * (factor_us as f64 / 1e3);
        let part_us = whole(&text[..text.len() - rest.len()], i128::from(factor_us));
        total.whole_us =
            total.whole_us.zip(part_us).and_then(|(total, part)| total.checked_add(part));
        text = &rest[length..];
    }
    Some(total)
}
