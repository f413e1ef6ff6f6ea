//! Parses filters, and says where a wrong one is wrong.

use std::ops::Range;

use super::evaluate::flag_of;
use super::expression::{Expr, Literal, Op, Pattern, ends_value, ends_word};
use super::{Column, FilterError, Kind, MAX_BYTES};

/// Parentheses and negations may be nested this deep, so that no filter exhausts the stack.
const MAX_DEPTH: usize = 32;

/// Parses a filter, with a check of its columns if they are given. A blank text is no expression.
pub(super) fn parse(text: &str, columns: Option<&[Column]>) -> Result<Option<Expr>, FilterError> {
    if text.len() > MAX_BYTES {
        let at = text.floor_char_boundary(MAX_BYTES);
        return fail(at..text.len(), format!("a filter has at most {MAX_BYTES} bytes"));
    }
    let mut parser = Parser { text, at: 0, depth: 0, columns };
    parser.skip_spaces();
    if parser.rest().is_empty() {
        return Ok(None);
    }
    let expression = parser.any()?;
    match parser.peek() {
        None => Ok(Some(expression)),
        // Only a parenthesis ends an expression early.
        Some(_) => fail(parser.at..parser.at + 1, "nothing is open that `)` could close"),
    }
}

fn fail<T>(at: Range<usize>, message: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError { at, message: message.into() })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    columns: Option<&'a [Column]>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes the token if it comes next.
    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Returns whether a keyword comes next, and not a word or a column that begins like it.
    fn sees_keyword(&self, keyword: &str) -> bool {
        let rest = self.rest();
        let front = rest.get(..keyword.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(keyword))
            && rest[keyword.len()..]
                .chars()
                .next()
                .is_none_or(|c| c.is_whitespace() || c == '(' || c == ')')
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.sees_keyword(keyword);
        if found {
            self.at += keyword.len();
            self.skip_spaces();
        }
        found
    }

    /// Parses up to the end or to a parenthesis that closes.
    fn any(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.all()?];
        while self.take_keyword("or") {
            parts.push(self.all()?);
        }
        Ok(Expr::any(parts))
    }

    fn all(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.term()?];
        loop {
            let demanded = self.take_keyword("and");
            let ends = matches!(self.peek(), None | Some(')')) || self.sees_keyword("or");
            if ends && !demanded {
                return Ok(Expr::all(parts));
            }
            parts.push(self.term()?);
        }
    }

    /// Parses one condition and the spaces after it.
    fn term(&mut self) -> Result<Expr, FilterError> {
        let start = self.at;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fail(
                start..self.text.len(),
                "too many parentheses and negations in each other",
            );
        }
        for keyword in ["and", "or"] {
            if self.sees_keyword(keyword) {
                let message = format!("a condition is missing before `{keyword}`");
                return fail(start..start + keyword.len(), message);
            }
        }
        let term = match self.peek() {
            None => return fail(start..start, "a condition is missing here"),
            Some(')') => return fail(start..start + 1, "a condition is missing before `)`"),
            Some('!') => {
                self.at += 1;
                self.skip_spaces();
                Expr::Not(Box::new(self.term()?))
            }
            Some('(') => self.group()?,
            Some('/') => Expr::Contains { column: None, pattern: self.regex()? },
            Some('"') => {
                let text = self.quoted()?;
                Expr::Contains { column: None, pattern: pattern(&text, start..self.at)? }
            }
            Some('=' | '<' | '>' | '~') => {
                return fail(start..start + 1, "a column is missing before this");
            }
            Some(_) => self.word()?,
        };
        self.skip_spaces();
        self.depth -= 1;
        Ok(term)
    }

    fn group(&mut self) -> Result<Expr, FilterError> {
        let start = self.at;
        self.at += 1;
        self.skip_spaces();
        let inner = self.any()?;
        if self.take(")") { Ok(inner) } else { fail(start..start + 1, "`(` is not closed") }
    }

    /// Parses a word, or a comparison that begins with one.
    fn word(&mut self) -> Result<Expr, FilterError> {
        let start = self.at;
        let rest = self.rest();
        let length = rest.find(ends_word).unwrap_or(rest.len());
        let length = rest[..length + usize::from(rest[length..].starts_with('='))]
            .find("!=")
            .unwrap_or(length);
        self.at += length;
        let word = &rest[..length];
        let span = start..self.at;
        self.skip_spaces();
        if let Some(op) = self.op() {
            let kind = self.kind_of(word, span)?;
            self.skip_spaces();
            return self.comparison(word, kind, op);
        }
        if self.take("~") {
            self.kind_of(word, span)?;
            self.skip_spaces();
            let value_at = self.at;
            let pattern = match self.peek() {
                Some('/') => self.regex()?,
                _ => {
                    let literal = self.value("~")?;
                    pattern(literal.text(), value_at..self.at)?
                }
            };
            return Ok(Expr::Contains { column: Some(word.to_owned()), pattern });
        }
        let after_in = self.rest().get(2..).unwrap_or_default().trim_start();
        if self.sees_keyword("in") && after_in.starts_with('(') {
            let kind = self.kind_of(word, span)?;
            return self.one_of(word, kind);
        }
        Ok(Expr::Contains { column: None, pattern: pattern(word, span)? })
    }

    fn op(&mut self) -> Option<Op> {
        // The longer ones first.
        let ops =
            [Op::NotEqual, Op::LessOrEqual, Op::GreaterOrEqual, Op::Equal, Op::Less, Op::Greater];
        ops.into_iter().find(|op| self.take(op.as_str()))
    }

    fn comparison(
        &mut self,
        column: &str,
        kind: Option<Kind>,
        op: Op,
    ) -> Result<Expr, FilterError> {
        let start = self.at;
        let literal = self.value(op.as_str())?;
        check(kind, &literal, start..self.at)?;
        if literal.is_absence() && !matches!(op, Op::Equal | Op::NotEqual) {
            return fail(start..self.at, "`-` is no value; only = and != can ask for it");
        }
        Ok(Expr::Compare { column: column.to_owned(), op, literal })
    }

    fn one_of(&mut self, column: &str, kind: Option<Kind>) -> Result<Expr, FilterError> {
        self.take_keyword("in");
        let open = self.at;
        self.at += 1;
        let mut literals = Vec::new();
        loop {
            self.skip_spaces();
            let start = self.at;
            let literal = self.value("in")?;
            check(kind, &literal, start..self.at)?;
            literals.push(literal);
            self.skip_spaces();
            if self.take(")") {
                return Ok(Expr::OneOf { column: column.to_owned(), literals });
            }
            if !self.take(",") {
                return match self.peek() {
                    None => fail(open..open + 1, "`(` is not closed"),
                    Some(c) => fail(self.at..self.at + c.len_utf8(), "write `,` between values"),
                };
            }
        }
    }

    /// Parses the value after `op`.
    fn value(&mut self, op: &str) -> Result<Literal, FilterError> {
        let start = self.at;
        if self.peek() == Some('"') {
            return Ok(Literal::quoted(self.quoted()?));
        }
        let rest = self.rest();
        let length = rest.find(ends_value).unwrap_or(rest.len());
        if length == 0 {
            return fail(start..start, format!("a value is missing after `{op}`"));
        }
        let text = &rest[..length];
        if text.starts_with(['=', '<', '>', '~', '!']) {
            let message =
                "no such operator; there are = != < <= > >= ~, and \"…\" around such texts";
            return fail(start..start + 1, message);
        }
        self.at += length;
        // A path is a text like any other, but `/…/` is only looked for with `~`.
        Ok(if text.starts_with('/') { Literal::quoted(text) } else { Literal::bare(text) })
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                other => text.push(other),
            }
        }
        fail(start..self.text.len(), "the quotation mark is not closed")
    }

    fn regex(&mut self) -> Result<Pattern, FilterError> {
        let start = self.at;
        let mut source = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            match c {
                '/' => {
                    self.at += offset + 1;
                    let span = start..self.at;
                    return Pattern::regex(&source).or_else(|error| fail(span, reason(&error)));
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) => source.extend(['\\', escaped]),
                    None => break,
                },
                other => source.push(other),
            }
        }
        fail(start..self.text.len(), "the regular expression is not closed by `/`")
    }

    /// Returns what the column's values are, or an error that names the columns there are.
    fn kind_of(&self, name: &str, span: Range<usize>) -> Result<Option<Kind>, FilterError> {
        let Some(columns) = self.columns else { return Ok(None) };
        if let Some(column) = columns.iter().find(|column| column.name == name) {
            return Ok(Some(column.kind));
        }
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        fail(span, format!("no column `{name}`; there are {}", names.join(", ")))
    }
}

fn pattern(text: &str, span: Range<usize>) -> Result<Pattern, FilterError> {
    Pattern::text(text).or_else(|error| fail(span, reason(&error)))
}

/// Returns the last line of a message of `regex`: the lines before it repeat the expression.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Fails if a column of this kind can never have such a value.
fn check(kind: Option<Kind>, literal: &Literal, span: Range<usize>) -> Result<(), FilterError> {
    let Some(kind) = kind else { return Ok(()) };
    let text = literal.text();
    let is_share_word = kind == Kind::Share && matches!(text, "all" | "none");
    let fits = match kind {
        Kind::Text => true,
        Kind::Word(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
        Kind::Flag => flag_of(text).is_some(),
        Kind::Number | Kind::Share | Kind::Duration | Kind::Bytes => {
            literal.quantity().is_some_and(|quantity| quantity.fits(kind))
        }
    };
    if fits || is_share_word || literal.is_absence() {
        return Ok(());
    }
    let expected = match kind {
        Kind::Number => "a number such as 12, 10k or 1.5M",
        Kind::Share => "a share such as 13%, 0.13, all or none",
        Kind::Duration => "a duration such as 84ms, 2s, 5m or 1h30m",
        Kind::Bytes => "a size such as 100MB, 512KiB or 1G",
        Kind::Flag => "yes or no",
        Kind::Text => "a text",
        Kind::Word(words) => {
            return fail(span, format!("`{text}` is never there; there are {}", words.join(", ")));
        }
    };
    fail(span, format!("`{text}` is not {expected}"))
}
