//! Whether a condition holds for a row.

use std::cmp::Ordering;

use super::expression::{Expr, Literal, Op};
use super::{Row, Value};

impl Expr {
    pub(super) fn matches<R: Row + ?Sized>(&self, row: &R) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(row)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(row)),
            Self::Not(inner) => !inner.matches(row),
            Self::Compare { column, op, literal } => {
                compares(row.column(column).as_ref(), *op, literal)
            }
            Self::OneOf { column, literals } => {
                let value = row.column(column);
                literals.iter().any(|literal| compares(value.as_ref(), Op::Equal, literal))
            }
            Self::Contains { column: Some(column), pattern } => match row.column(column) {
                Some(Value::Text(text)) => pattern.is_match(&text),
                Some(Value::Number(number)) => pattern.is_match(&number.to_string()),
                Some(Value::Count(count)) => pattern.is_match(&count.to_string()),
                Some(Value::Flag(_)) | None => false,
            },
            Self::Contains { column: None, pattern } => {
                let mut found = false;
                row.texts(&mut |text| found = found || pattern.is_match(text));
                found
            }
        }
    }
}

/// A value that is missing is unequal to everything but `-`, and neither smaller nor greater.
fn compares(value: Option<&Value<'_>>, op: Op, literal: &Literal) -> bool {
    if literal.is_absence() {
        return match op {
            Op::Equal => value.is_none(),
            Op::NotEqual => value.is_some(),
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => false,
        };
    }
    let order = value.and_then(|value| order(value, literal));
    match (op, order) {
        (Op::NotEqual, order) => order != Some(Ordering::Equal),
        (_, None) => false,
        (Op::Equal, Some(order)) => order.is_eq(),
        (Op::Less, Some(order)) => order.is_lt(),
        (Op::LessOrEqual, Some(order)) => order.is_le(),
        (Op::Greater, Some(order)) => order.is_gt(),
        (Op::GreaterOrEqual, Some(order)) => order.is_ge(),
    }
}

/// Compares a value with a literal, or returns `None` if the literal is of another kind.
fn order(value: &Value<'_>, literal: &Literal) -> Option<Ordering> {
    match value {
        Value::Number(number) => {
            let wanted = number_of(literal)?;
            // 13 % is not exactly 0.13 of 1.
            let close = (number - wanted).abs() <= wanted.abs() * 1e-9;
            if close { Some(Ordering::Equal) } else { number.partial_cmp(&wanted) }
        }
        Value::Count(count) => match whole_of(literal) {
            Some(wanted) => Some(i128::from(*count).cmp(&wanted)),
            // Of two numbers of which one has a fraction, or is too large for a count, none is
            // equal to the other.
            None => {
                let is_less = (*count as f64) < number_of(literal)?;
                Some(if is_less { Ordering::Less } else { Ordering::Greater })
            }
        },
        Value::Text(text) => {
            let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
            Some(lower(text).cmp(&lower(literal.text())))
        }
        Value::Flag(flag) => Some(flag.cmp(&flag_of(literal.text())?)),
    }
}

/// Returns the number that a literal stands for; shares are also written `all` and `none`.
pub(super) fn number_of(literal: &Literal) -> Option<f64> {
    match literal.text() {
        "all" => Some(1.0),
        "none" => Some(0.0),
        _ => literal.quantity().map(|quantity| quantity.value),
    }
}

/// Returns the whole number that a literal stands for, or `None` if it has a fraction.
fn whole_of(literal: &Literal) -> Option<i128> {
    match literal.text() {
        "all" => Some(1),
        "none" => Some(0),
        _ => literal.quantity()?.whole,
    }
}

pub(super) fn flag_of(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}
