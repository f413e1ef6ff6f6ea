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
    pub value: f64,
    pub unit: Unit,
}

impl Quantity {
    /// Parses `12`, `10k`, `1.5M`, `13%`, `84ms`, `1h30m`, `100MB`; a rate may end in `/s`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix("/s").unwrap_or(text);
        let (number, name) = split_number(text)?;
        if let Some((factor, unit)) = unit(name) {
            let quantity = Self { value: number * factor, unit };
            return quantity.value.is_finite().then_some(quantity);
        }
        let value = duration(text)?;
        value.is_finite().then_some(Self { value, unit: Unit::Time })
    }

    /// Returns whether the number can be a value of a column of this kind.
    pub fn fits(self, kind: Kind) -> bool {
        match (kind, self.unit) {
            (Kind::Number | Kind::Share | Kind::Duration | Kind::Bytes, Unit::Plain)
            | (Kind::Share, Unit::Percent)
            | (Kind::Duration, Unit::Time)
            | (Kind::Bytes, Unit::Bytes)
            | (Kind::Text, _) => true,
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

/// Parses `84ms`, `1.5s`, `1h30m` to milliseconds.
fn duration(mut text: &str) -> Option<f64> {
    let mut total = 0.0;
    while !text.is_empty() {
        let (number, rest) = split_number(text)?;
        if number < 0.0 {
            return None;
        }
        let length = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let factor = match &rest[..length] {
            "us" | "µs" => 0.001,
            "ms" => 1.0,
            "s" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3_600e3,
            "d" => 86_400e3,
            _ => return None,
        };
        total += number * factor;
        text = &rest[length..];
    }
    Some(total)
}
