//! Text of others on a terminal, in log lines and in error messages.
//!
//! Always holds: no text that passes here can control a terminal or imitate a line of its own.

use std::error::Error;
use std::fmt::Write as _;

/// Returns whether a terminal may act on the character instead of showing it: control characters
/// of both sets, ends of lines, and characters that change the direction of the text after them.
fn controls_terminal(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

fn shown(c: char) -> char {
    if controls_terminal(c) { '\u{FFFD}' } else { c }
}

/// Replaces every character that could control a terminal. The result is one line.
pub fn printable(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// Does the same, but keeps the ends of lines, tabs, and colours (`ESC [ … m`). For whole answers,
/// whose single texts have passed [`printable`] already.
pub fn printable_lines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\u{1b}' => colour_length(rest),
            '\n' | '\t' => Some(1),
            _ => None,
        };
        match length {
            Some(length) => kept.push_str(&rest[..length]),
            None => kept.push(shown(c)),
        }
        rest = &rest[length.unwrap_or(c.len_utf8())..];
    }
    kept
}

/// Returns the length of the colour sequence that the text begins with.
fn colour_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters[end..].starts_with('m').then_some(2 + end + 1)
}

/// Writes the characters of JSON text that could control a terminal as `\u` escapes. They occur
/// only inside its strings, so the JSON means the same as before.
pub fn printable_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if controls_terminal(c) {
            // Each of them is a single UTF-16 unit. Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Describes an error with its causes. A cause that the text before it contains already is left
/// out, and so are the operating system's error numbers.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    printable(&without_error_numbers(&text))
}

fn without_error_numbers(text: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(NUMBER) {
        kept.push_str(before);
        let digits = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        rest = match digits.strip_prefix(')') {
            Some(after_number) if digits.len() < after.len() => after_number,
            _ => {
                kept.push_str(NUMBER);
                after
            }
        };
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}31mc\u{202e}d\u{2066}e\u{2028}f\r\n\u{7}\u{7f}";

    #[test]
    fn no_text_controls_the_terminal() {
        assert_eq!(printable("ok Жук 🪲\u{200d}"), "ok Жук 🪲\u{200d}");
        assert!(!printable(HOSTILE).contains(controls_terminal));
        assert_eq!(printable("a\u{1b}[2J"), "a\u{fffd}[2J");
        let lines = printable_lines(&format!("{HOSTILE}\tx"));
        assert!(
            lines.chars().all(|c| c == '\n' || c == '\t' || !controls_terminal(c)),
            "{lines:?}"
        );
        assert!(lines.contains('\n') && lines.contains('\t'));
    }

    #[test]
    fn only_colours_pass_in_whole_answers() {
        for kept in ["\u{1b}[1mbold\u{1b}[0m", "\u{1b}[m", "\u{1b}[38;5;1m"] {
            assert_eq!(printable_lines(kept), kept);
        }
        for cut in ["\u{1b}[2J", "\u{1b}]0;t\u{7}", "\u{1b}[1", "\u{1b}", "\u{1b}[?25l", "\u{1b}c"]
        {
            assert!(!printable_lines(cut).contains('\u{1b}'), "{cut:?}");
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let json = serde_json::to_string(HOSTILE).unwrap();
        let escaped = printable_json(&json);
        assert!(!escaped.contains(controls_terminal), "{escaped:?}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), HOSTILE);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("/tmp/x: {source}")]
    struct Wrapped {
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_told_once_and_without_its_number() {
        let source = || std::io::Error::from_raw_os_error(2);
        let wrapped = Wrapped { source: source() };
        assert_eq!(describe(&wrapped), "/tmp/x: No such file or directory");
        let text = "a (os error 2) b (os error x) c (os error ) d (os error 13)";
        assert_eq!(without_error_numbers(text), "a b (os error x) c (os error ) d");
        let hidden = anyhow::Error::new(source()).context("cannot start");
        assert_eq!(describe(hidden.as_ref()), "cannot start: No such file or directory");
    }
}
