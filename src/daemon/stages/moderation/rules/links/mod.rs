//! Finds links, including those written to evade detection.
//!
//! In: a comment, and the hosts that may be linked. Out: the host of the first link that is not
//! allowed.
//!
//! Always holds: the rule is closed. Everything in the text that reads as an address or as a host
//! name is a link, whatever stands around it, and an address that cannot be read is not allowed.
//!
//! - An address with a scheme links to any host: `https://…`, `hxxp://…`, `tg://…`. Its host is
//!   read as browsers read it.
//! - A host name ends with a top-level domain of the public suffix list, or begins with `www.`. Its
//!   dots may be written out: `example[.]com`, `example dot com`. With a path or a port it is a
//!   link.
//! - The parts of a host name may stand apart: `example . ru`, `example .com`,
//!   `e x a m p l e . c o m` ([`split`]).
//! - A host name by itself is a link, too, except where people leave out the space after a full
//!   stop: `lol.love this`. There, all its labels are common words.
//!
//! E-mail addresses, version numbers and abbreviations are not links.

mod address;
mod bare;
mod split;

use unicode_normalization::UnicodeNormalization as _;

use self::split::Care;
use super::glyph::{Glyph, glyph};

/// Hosts that may be linked.
#[derive(Debug)]
pub(super) struct AllowedHosts {
    hosts: Vec<String>,
}

impl AllowedHosts {
    /// Takes host names such as `example.com`. Each also allows its subdomains.
    pub(super) fn new(hosts: &[String]) -> Self {
        let plain = |host: &String| {
            let host = host.trim().to_lowercase();
            as_ascii(host.trim_start_matches("*.").trim_matches('.'))
        };
        Self { hosts: hosts.iter().map(plain).filter(|host| !host.is_empty()).collect() }
    }

    /// A dot at the end names the same host.
    fn allows(&self, host: &str) -> bool {
        let host = as_ascii(host);
        let host = host.strip_suffix('.').unwrap_or(&host);
        self.hosts.iter().any(|allowed| is_below(host, allowed))
    }

    /// Returns the host of the first link that is not allowed.
    pub(super) fn first_forbidden(&self, text: &str) -> Option<String> {
        if !may_have_link(text) {
            return None;
        }
        self.check(&normalize(text)).err()
    }

    /// Returns a host that a text names, unless it is allowed or one of `known`. Finds more than
    /// [`Self::first_forbidden`]: a text that is suspect for another reason may hide its host in
    /// what would be a sentence elsewhere.
    pub(super) fn suspected(&self, text: &str, known: &[&str]) -> Option<NamedHost> {
        let text = normalize(text);
        let allows =
            |host: &str| self.allows(host) || known.iter().any(|known| is_below(host, known));
        let hidden = || {
            for reading in plain_readings(&text).iter().filter(|reading| **reading != text) {
                check_written(reading, allows)?;
            }
            let parted = split::hosts(&text, Care::Suspected);
            parted.into_iter().find(|host| !allows(host)).map_or(Ok(()), Err)
        };
        if let Err(host) = hidden() {
            return Some(NamedHost { host, is_hidden: true });
        }
        let host = check_written(&text, allows).err()?;
        Some(NamedHost { host, is_hidden: false })
    }

    /// Checks every reading of a normal text. A bracketed dot may belong to a host or stand behind
    /// one: `evil.net [dot] x` is not the host `evil.net.x`.
    fn check(&self, text: &str) -> Result<(), Forbidden> {
        for reading in plain_readings(text) {
            self.check_reading(&reading)?;
        }
        self.check_reading(text)
    }

    fn check_reading(&self, text: &str) -> Result<(), Forbidden> {
        let allows = |host: &str| self.allows(host);
        check_written(text, allows)?;
        let parted = split::hosts(text, Care::Sure);
        parted.into_iter().find(|host| !allows(host)).map_or(Ok(()), Err)
    }
}

/// A host that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedHost {
    pub(super) host: String,
    /// Its parts stand apart, or its dots are written otherwise.
    pub(super) is_hidden: bool,
}

/// Checks addresses and host names that are written in one piece.
fn check_written(text: &str, allows: impl Fn(&str) -> bool) -> Result<(), Forbidden> {
    let allowed = address::check(text, &allows)?;
    bare::check(text, &allowed, &allows)
}

/// Returns whether a host is `parent` or below it.
fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The host of a link that is not allowed.
type Forbidden = String;

/// Returns a host name in the form of the DNS, as browsers make it.
fn as_ascii(host: &str) -> String {
    url::Host::parse(host).map_or_else(|_| host.to_owned(), |host| host.to_string())
}

/// A cheap check that is true for every text with a link. Control characters may stand within
/// `dot`.
fn may_have_link(text: &str) -> bool {
    let spoken = |window: &[u8]| {
        // Most windows end with another letter.
        matches!(window[2], b't' | b'T' | b'o' | b'O')
            && SPOKEN_DOTS.iter().any(|dot| window.eq_ignore_ascii_case(dot))
    };
    text.bytes().any(|byte| matches!(byte, b'.' | b':' | ..b' ' | 0x7f..))
        || text.as_bytes().windows(3).any(spoken)
}

/// The letters by which a dot that is written out is recognized: `dot`, `d0t`, `punto`, `ponto`,
/// `punkt`, `,com`.
const SPOKEN_DOTS: [&[u8]; 5] = [b"dot", b"d0t", b"nto", b"nkt", b",co"];

/// Normalizes a text: lower case, compatibility forms resolved, invisible characters removed, one
/// kind of space, dot and slash.
fn normalize(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.nfkc().flat_map(char::to_lowercase) {
        match character {
            '。' | '．' | '｡' | '․' => plain.push('.'),
            '⁄' | '∕' | '⧸' => plain.push('/'),
            'ː' | '∶' | '꞉' => plain.push(':'),
            _ => match glyph(character) {
                Glyph::Nothing => {}
                Glyph::Space => plain.push(' '),
                _ => plain.push(character),
            },
        }
    }
    if plain.contains(MIDDLE_DOTS) { with_plain_middle_dots(&plain) } else { plain }
}

/// Dots that stand in the middle of a line.
const MIDDLE_DOTS: [char; 5] = ['·', '•', '∙', '⋅', '‧'];

/// Returns a text with the middle dots between Latin letters and digits as full stops.
fn with_plain_middle_dots(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let is_latin = |at: Option<usize>| {
        at.and_then(|at| characters.get(at)).is_some_and(char::is_ascii_alphanumeric)
    };
    let plain = characters.iter().enumerate().map(|(at, character)| {
        let is_inside = || is_latin(at.checked_sub(1)) && is_latin(Some(at + 1));
        if MIDDLE_DOTS.contains(character) && is_inside() { '.' } else { *character }
    });
    plain.collect()
}

/// Dots that are written in brackets.
const BRACKETED_DOTS: [&str; 8] = ["[.]", "(.)", "{.}", "<.>", "[dot]", "(dot)", "{dot}", "<dot>"];

/// Bracketed dots as they are also written.
const OTHER_BRACKETED_DOTS: [&str; 14] = [
    "( . )",
    "[ . ]",
    "{ . }",
    "( dot )",
    "[ dot ]",
    "{ dot }",
    "(d0t)",
    "[d0t]",
    "(,)",
    "[,]",
    "(punto)",
    "(ponto)",
    "(punkt)",
    "(точка)",
];
/// Dots between other marks.
const MARKED_DOTS: [&str; 6] = ["*dot*", "-dot-", "_dot_", "|dot|", "\"dot\"", "'dot'"];

/// Returns a normal text with dots and slashes that are written otherwise as plain ones, in both
/// readings; nothing if there are none.
fn plain_readings(text: &str) -> Vec<String> {
    let has_brackets = text.contains(['[', '(', '{', '<']);
    let has_marks = || text.contains("dot") && MARKED_DOTS.iter().any(|dot| text.contains(dot));
    if !has_brackets && !has_marks() {
        return Vec::new();
    }
    vec![write_plainly(text, "."), write_plainly(text, " | ")]
}

/// Returns a normal text in which bracketed characters (`[.]`, `(dot)`, `[:]`) are written plainly,
/// and a dot between spaces as `spaced`.
fn write_plainly(text: &str, spaced: &str) -> String {
    let mut plain = text.to_owned();
    let mut write = |written: &str, meant: &str| {
        if plain.contains(written) {
            plain = plain.replace(written, meant);
        }
    };
    OTHER_BRACKETED_DOTS.iter().for_each(|dot| write(dot, "[.]"));
    for dot in BRACKETED_DOTS.iter().chain(&MARKED_DOTS) {
        write(&format!(" {dot} "), spaced);
        write(dot, ".");
    }
    write("[:]", ":");
    write("[/]", "/");
    plain
}

/// Returns where the path of a link ends that begins at byte `from`. Another link may follow after
/// a character that separates text, and after an emoji.
fn path_end(text: &str, from: usize) -> usize {
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(c, ',' | ';' | '(' | ')' | '<' | '>' | '"' | '\'' | '|' | '*' | '!')
            || !c.is_ascii() && !c.is_alphanumeric()
    };
    text[from..].find(ends).map_or(text.len(), |length| from + length)
}

#[cfg(test)]
mod tests;
