//! Filters: the one grammar of `lc --where`, the `/` of `lc top` and the admin API.
//!
//! ```text
//! filter     = [ any ]
//! any        = all { "or" all }
//! all        = term { [ "and" ] term }
//! term       = { "!" } ( comparison | word | "/" regex "/" | "(" any ")" )
//! comparison = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!            | column "~" ( value | "/" regex "/" )
//!            | column "in" "(" value { "," value } ")"
//! value      = 12 | 10k | 1.5M | 84ms | 2h | 13% | 100MB | word | "text" | -
//! ```
//!
//! A word or a regular expression without a column is looked for in all texts of a row. Texts
//! compare without regard to case. The value `-` stands for a column that has no value in a row.
//! Lower-case `m` is minutes, upper-case `M` is million.
//!
//! Always holds: a filter that is printed and parsed again is the same filter; parsing takes time
//! and memory in proportion to the text, whose length and depth are bounded.

mod engine_rows;
mod evaluate;
mod expression;
mod parse;
mod quantity;
mod review_rows;
pub mod rows;
mod talkers;
#[cfg(test)]
mod tests;
mod user_rows;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

pub use expression::{Expr, Literal, Op, Pattern};
pub use quantity::{Quantity, Unit};

/// No filter is longer, in bytes.
pub const MAX_BYTES: usize = 2_048;

/// The kind of values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A count, an id or a rate per second.
    Number,
    /// A part of a whole, from 0 to 1.
    Share,
    /// A duration in milliseconds.
    Duration,
    Bytes,
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Yes or no.
    Flag,
}

/// A column that a filter may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

impl Column {
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }
}

/// The value of a column in one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A measured number in the base unit of its column: a rate, a share of 1, milliseconds,
    /// bytes. It is equal to a literal that differs by no more than rounding.
    Number(f64),
    /// An id or another whole number in the base unit of its column. It compares exactly.
    Count(u64),
    Text(Cow<'a, str>),
    Flag(bool),
}

impl Value<'_> {
    /// Returns an id or a count as a value.
    pub fn count(count: u64) -> Self {
        Self::Count(count)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

/// Something that a filter can be applied to.
pub trait Row {
    /// Returns the value of a column, or `None` if the row has none or no such column exists.
    fn column(&self, name: &str) -> Option<Value<'_>>;

    /// Calls `visit` with each text that a word without a column may occur in.
    fn texts(&self, visit: &mut dyn FnMut(&str));
}

/// A row whose columns are known, so that a filter can be checked before there are rows.
pub trait Columns: Row {
    const COLUMNS: &'static [Column];
}

/// Why a text is not a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The bytes that are wrong. Empty at the end of the text if something is missing there.
    pub at: Range<usize>,
    pub message: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FilterError {}

/// A condition on rows. The default one is true for every row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    expression: Option<Expr>,
}

impl Filter {
    /// Parses a filter for rows with these columns.
    pub fn parse(text: &str, columns: &[Column]) -> Result<Self, FilterError> {
        Ok(Self { expression: parse::parse(text, Some(columns))? })
    }

    /// Returns the filter that consists of an expression.
    pub fn new(expression: Expr) -> Self {
        Self { expression: Some(expression) }
    }

    /// Returns the expression, or `None` if the filter is true for every row.
    pub fn expression(&self) -> Option<&Expr> {
        self.expression.as_ref()
    }

    /// Returns whether the filter is true for every row.
    pub fn is_empty(&self) -> bool {
        self.expression.is_none()
    }

    pub fn matches<R: Row + ?Sized>(&self, row: &R) -> bool {
        self.expression.as_ref().is_none_or(|expression| expression.matches(row))
    }
}

/// Parses a filter without knowing the columns: a name that no row has is not an error.
impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self { expression: parse::parse(text, None)? })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expression {
            Some(expression) => expression.fmt(f),
            None => Ok(()),
        }
    }
}
