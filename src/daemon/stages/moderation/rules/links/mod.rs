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

use std::borrow::Cow;

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

    fn check(&self, text: &str) -> Result<(), Forbidden> {
        let joined = join_bracketed(text);
        let allowed = address::check(&joined, |host| self.allows(host))?;
        bare::check(&joined, &allowed, |host| self.allows(host))?;
        // `evil.net [dot] x` is not the host `evil.net.x`.
        match joined {
            Cow::Owned(_) => bare::check(text, &[], |host| self.allows(host)),
            Cow::Borrowed(_) => Ok(()),
        }
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

/// Returns a normal text in which bracketed characters (`[.]`, `(dot)`, `[:]`) are written plainly,
/// without the spaces around a dot.
fn join_bracketed(text: &str) -> Cow<'_, str> {
    let mut joined = Cow::Borrowed(text);
    if !text.contains(['[', '(', '{', '<']) {
        return joined;
    }
    let mut replace = |bracketed: &str, plain: &str| {
        if joined.contains(bracketed) {
            joined = Cow::Owned(joined.replace(bracketed, plain));
        }
    };
    for dot in ["[.]", "(.)", "{.}", "<.>", "[dot]", "(dot)", "{dot}", "<dot>"] {
        replace(&format!(" {dot} "), ".");
        replace(dot, ".");
    }
    replace("[:]", ":");
    replace("[/]", "/");
    joined
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
