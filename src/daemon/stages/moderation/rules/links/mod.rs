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
//! - A host name ends with a top-level domain of the public suffix list, or begins with `www.`.
//!   Its dots may be written out: `example[.]com`, `example dot com`. With a path or a port it is a
//!   link.
//! - A host name by itself is a link, too, except where people leave out the space after a full
//!   stop: `lol.love this`. There, all its labels are common words.
//!
//! E-mail addresses, version numbers and abbreviations are not links.

mod address;
mod bare;

use unicode_normalization::UnicodeNormalization as _;

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
        self.hosts.iter().any(|allowed| {
            host.strip_suffix(allowed.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }

    /// Returns the host of the first link that is not allowed.
    pub(super) fn first_forbidden(&self, text: &str) -> Option<String> {
        if !may_have_link(text) {
            return None;
        }
        self.check(&normalize(text)).err()
    }

    /// Checks every reading of a normal text. A bracketed dot may belong to a host or stand behind
    /// one: `evil.net [dot] x` is not the host `evil.net.x`.
    fn check(&self, text: &str) -> Result<(), Forbidden> {
        if text.contains(['[', '(', '{', '<']) {
            self.check_reading(&write_plainly(text, "."))?;
            self.check_reading(&write_plainly(text, " | "))?;
        }
        self.check_reading(text)
    }

    fn check_reading(&self, text: &str) -> Result<(), Forbidden> {
        let allowed = address::check(text, |host| self.allows(host))?;
        bare::check(text, &allowed, |host| self.allows(host))
    }
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
    let dot = |window: &[u8]| window.eq_ignore_ascii_case(b"dot");
    text.bytes().any(|byte| matches!(byte, b'.' | b':' | ..b' ' | 0x7f..))
        || text.as_bytes().windows(3).any(dot)
}

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
    plain
}

/// Dots that are written in brackets.
const BRACKETED_DOTS: [&str; 8] = ["[.]", "(.)", "{.}", "<.>", "[dot]", "(dot)", "{dot}", "<dot>"];

/// Returns a normal text in which bracketed characters (`[.]`, `(dot)`, `[:]`) are written plainly,
/// and a dot between spaces as `spaced`.
fn write_plainly(text: &str, spaced: &str) -> String {
    let mut plain = text.to_owned();
    for dot in BRACKETED_DOTS {
        plain = plain.replace(&format!(" {dot} "), spaced).replace(dot, ".");
    }
    plain.replace("[:]", ":").replace("[/]", "/")
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
