//! The expression that a filter is, and how it is written.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::quantity::Quantity;

/// Bound of the program that a regular expression is compiled to. Without it, a client of the
/// admin API could make the daemon allocate without limit.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// A relation between the value of a column and a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    pub const ALL: [Self; 6] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A value as it is written in a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    text: String,
    /// Written in quotation marks: a text, whatever it looks like.
    quoted: bool,
    quantity: Option<Quantity>,
}

impl Literal {
    /// Returns the literal that is written in quotation marks.
    pub fn quoted(text: impl Into<String>) -> Self {
        Self { text: text.into(), quoted: true, quantity: None }
    }

    /// Returns the literal for a text that was typed without quotation marks. A text that cannot
    /// be written like that is put into them.
    pub fn bare(text: impl Into<String>) -> Self {
        let text = text.into();
        let quoted = !is_bare_value(&text);
        let quantity = if quoted { None } else { Quantity::parse(&text) };
        Self { text, quoted, quantity }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn quantity(&self) -> Option<Quantity> {
        self.quantity
    }

    /// Returns whether this is `-`, which stands for a missing value.
    pub fn is_absence(&self) -> bool {
        !self.quoted && self.text == "-"
    }
}

/// A text or a regular expression that is looked for.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    /// Written between slashes.
    is_regex: bool,
    regex: Regex,
}

impl Pattern {
    /// Returns the pattern that finds a text, without regard to case.
    pub fn text(text: &str) -> Result<Self, regex::Error> {
        let regex = compile(&regex::escape(text))?;
        Ok(Self { source: text.to_owned(), is_regex: false, regex })
    }

    /// Returns the pattern that is a regular expression. It is not case-sensitive, unless it says
    /// so itself with `(?-i)`.
    pub fn regex(source: &str) -> Result<Self, regex::Error> {
        let source = without_escaped_slashes(source);
        let regex = compile(&source)?;
        Ok(Self { source, is_regex: true, regex })
    }

    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.is_regex == other.is_regex && self.source == other.source
    }
}

/// Writes `\/` as `/`, which means the same, so that equal expressions have equal sources.
fn without_escaped_slashes(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut characters = source.chars();
    while let Some(c) = characters.next() {
        match (c, (c == '\\').then(|| characters.next()).flatten()) {
            ('\\', Some('/')) => kept.push('/'),
            (c, escaped) => kept.extend([Some(c), escaped].into_iter().flatten()),
        }
    }
    kept
}

fn compile(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .case_insensitive(true)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build()
}

/// A condition on one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// All of at least two.
    And(Vec<Expr>),
    /// At least one of at least two.
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Compare {
        column: String,
        op: Op,
        literal: Literal,
    },
    /// The column is equal to one of the literals.
    OneOf {
        column: String,
        literals: Vec<Literal>,
    },
    /// The column, or any text of the row, contains the pattern.
    Contains {
        column: Option<String>,
        pattern: Pattern,
    },
}

impl Expr {
    /// Joins conditions of which all must hold. Conditions that are joined like that already
    /// become part of the whole.
    pub fn all(conditions: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { Self::And(flat) }
    }

    /// Joins conditions of which one must hold, as [`Self::all`] does.
    pub fn any(conditions: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition {
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { Self::Or(flat) }
    }

    fn is_joined(&self) -> bool {
        matches!(self, Self::And(_) | Self::Or(_))
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(parts) => write_joined(f, parts, " ", |part| matches!(part, Self::Or(_))),
            Self::Or(parts) => write_joined(f, parts, " or ", |_| false),
            Self::Not(inner) if inner.is_joined() => write!(f, "!({inner})"),
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::Compare { column, op, literal } => write!(f, "{column}{}{literal}", op.as_str()),
            Self::OneOf { column, literals } => {
                write!(f, "{column} in (")?;
                for (index, literal) in literals.iter().enumerate() {
                    write!(f, "{}{literal}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Contains { column, pattern } => {
                if let Some(column) = column {
                    write!(f, "{column}~")?;
                }
                pattern.fmt(f)
            }
        }
    }
}

/// Writes the parts with a separator between them, and in parentheses those that need it.
fn write_joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expr],
    separator: &str,
    in_parentheses: impl Fn(&Expr) -> bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        if in_parentheses(part) {
            write!(f, "({part})")?;
        } else {
            write!(f, "{part}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted { write_quoted(f, &self.text) } else { f.write_str(&self.text) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_regex {
            return write!(f, "/{}/", self.source.replace('/', "\\/"));
        }
        if is_word(&self.source) && is_bare_value(&self.source) {
            f.write_str(&self.source)
        } else {
            write_quoted(f, &self.source)
        }
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The characters that end a word.
pub(super) fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"' | '=' | '<' | '>' | '~')
}

/// The characters that end a value without quotation marks.
pub(super) fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"' | ',')
}

/// Returns whether the text can be a word of a filter without quotation marks.
fn is_word(text: &str) -> bool {
    let is_keyword = ["and", "or", "in"].iter().any(|word| text.eq_ignore_ascii_case(word));
    !text.is_empty()
        && !is_keyword
        && !text.starts_with(['!', '/'])
        && !text.contains("!=")
        && !text.contains(ends_word)
}

/// Returns whether the text can be a value of a filter without quotation marks.
fn is_bare_value(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['=', '<', '>', '~', '!', '/'])
        && !text.contains(ends_value)
}
