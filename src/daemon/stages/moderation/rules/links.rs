//! Finds links, including those written to evade detection.
//!
//! Links are addresses with a scheme (`https://…`, `hxxp://…`), anything after `www.`, host names
//! with a known ending (`example.com`), and the same with the dots written out (`example[.]com`,
//! `example dot com`). E-mail addresses, versions, file names, and sentences without a space after
//! the full stop are not links.

use unicode_normalization::UnicodeNormalization as _;

use super::glyph::{Glyph, glyph};
use super::top_level::{Ending, ending};

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
            host.trim_start_matches("*.").trim_matches('.').to_owned()
        };
        Self { hosts: hosts.iter().map(plain).filter(|host| !host.is_empty()).collect() }
    }

    fn allows(&self, host: &str) -> bool {
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
        let text = normalize(text);
        let words: Vec<&str> = text.split(' ').collect();
        let plain = words.iter().filter_map(|word| host_of(word));
        let spoken = spoken_hosts(&words);
        plain.chain(spoken).find(|host| !self.allows(host))
    }
}

/// A cheap check that is true for every text with a link.
fn may_have_link(text: &str) -> bool {
    let dot = |window: &[u8]| window.eq_ignore_ascii_case(b"dot");
    text.bytes().any(|byte| byte == b'.' || byte == b':' || byte >= 0x80)
        || text.as_bytes().windows(3).any(dot)
}

/// Normalizes a text: lower case, compatibility forms resolved, invisible characters removed, one
/// kind of space, and bracketed dots (`[.]`, `(dot)`) written as dots.
fn normalize(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.nfkc().flat_map(char::to_lowercase) {
        match character {
            '。' | '．' | '｡' | '․' => plain.push('.'),
            _ => match glyph(character) {
                Glyph::Nothing => {}
                Glyph::Space => plain.push(' '),
                _ => plain.push(character),
            },
        }
    }
    if plain.contains(['[', '(', '{']) {
        for dot in ["[.]", "(.)", "{.}", "[dot]", "(dot)", "{dot}"] {
            for spaced in [format!(" {dot} "), dot.to_owned()] {
                plain = plain.replace(&spaced, ".");
            }
        }
    }
    plain
}

/// Returns the host that a word links to.
fn host_of(word: &str) -> Option<String> {
    let (schemed, rest) = match word.find("://") {
        Some(at) if has_scheme(&word[..at]) => (true, &word[at + 3..]),
        _ => (false, word),
    };
    let is_edge = |character: char| !character.is_alphanumeric() && character != '/';
    let rest = if schemed { rest } else { rest.trim_start_matches(is_edge) };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let has_path = rest[end..].len() > 1;
    let authority = &rest[..end];
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) if schemed => host,
        Some(_) => return None,
        None => authority,
    };
    let (host, port) = split_port(authority);
    let host = host.trim_matches(is_edge);
    let labels: Vec<&str> = host.split('.').collect();
    let whole = labels.iter().all(|label| is_label(label));
    if schemed {
        return (whole && !host.is_empty()).then(|| host.to_owned());
    }
    if !whole || labels.len() < 2 {
        return None;
    }
    let is_link = match labels[labels.len() - 1] {
        _ if labels[0] == "www" => true,
        last if last.bytes().all(|byte| byte.is_ascii_digit()) => {
            labels.len() == 4
                && (port || has_path)
                && labels.iter().all(|l| l.parse::<u8>().is_ok())
        }
        last => match ending(&as_latin(last)) {
            Ending::Sure => labels[labels.len() - 2].chars().count() >= 2 || has_path,
            Ending::Doubtful => has_path,
            Ending::Unknown => false,
        },
    };
    is_link.then(|| host.to_owned())
}

/// Returns whether the text before `://` ends with a scheme; other text may precede it.
fn has_scheme(before: &str) -> bool {
    before.ends_with(|character: char| character.is_ascii_alphanumeric())
}

fn split_port(authority: &str) -> (&str, bool) {
    match authority.split_once(':') {
        Some((host, port)) => (host, port.starts_with(|c: char| c.is_ascii_digit())),
        None => (authority, false),
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.chars().all(|character| character.is_alphanumeric() || "-_".contains(character))
}

/// Returns a label with letters of other alphabets replaced by the Latin ones they resemble.
fn as_latin(label: &str) -> String {
    if label.is_ascii() || ending(label) != Ending::Unknown {
        return label.to_owned();
    }
    let letter = |character| match glyph(character) {
        Glyph::Letter(letter) => letter,
        _ => character,
    };
    label.chars().map(letter).collect()
}

/// Returns hosts whose dot stands between spaces: `example dot com`, `example . com`.
fn spoken_hosts<'a>(words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    words.windows(3).filter_map(|three| {
        let [name, dot, last] = three else { return None };
        let last = last.trim_end_matches(|character: char| !character.is_alphanumeric());
        let last = last.split('/').next().unwrap_or(last);
        let named = is_label(name) && name.chars().count() >= 3 && !is_function_word(name);
        let spoken = *dot == "dot" || *dot == ".";
        let known =
            matches!(last, "com" | "net" | "org" | "gg" | "tv" | "io" | "xyz" | "ru" | "info");
        (named && spoken && known).then(|| format!("{name}.{last}"))
    })
}

/// Returns whether a word before `dot com` does not name a host.
fn is_function_word(word: &str) -> bool {
    matches!(
        word,
        "the" | "that" | "this" | "every" | "some" | "any" | "with" | "for" | "and" | "dot"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first_forbidden(allowed: &[&str], text: &str) -> Option<String> {
        let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
        AllowedHosts::new(&allowed).first_forbidden(text)
    }

    #[test]
    fn links_are_found_in_every_spelling() {
        let links = [
            ("http://example.com", "example.com"),
            ("see https://example.com/a?b=c#d now", "example.com"),
            ("HTTP://EXAMPLE.COM", "example.com"),
            ("hxxp://example.com", "example.com"),
            ("hxxps://example[.]com/x", "example.com"),
            ("example[.]com", "example.com"),
            ("example(.)com", "example.com"),
            ("example [dot] com", "example.com"),
            ("example(dot)com", "example.com"),
            ("example dot com", "example.com"),
            ("Example DOT Com!", "example.com"),
            ("go to example . com", "example.com"),
            ("example.com", "example.com"),
            ("(example.com)", "example.com"),
            ("try example.com, it is good", "example.com"),
            ("example.com.", "example.com"),
            ("\"example.com\"", "example.com"),
            ("a.b.example.co.uk", "a.b.example.co.uk"),
            ("www.example.whatever", "www.example.whatever"),
            ("t.me/spam", "t.me"),
            ("bit.ly/2xyz", "bit.ly"),
            ("discord.gg/abc", "discord.gg"),
            ("youtu.be/abc", "youtu.be"),
            ("http://user:pw@example.com:8080/", "example.com"),
            ("http://10.0.0.1/x", "10.0.0.1"),
            ("10.0.0.1:8080", "10.0.0.1"),
            ("http://localhost:3000", "localhost"),
            ("ftp://files.example.org", "files.example.org"),
            ("exam\u{200b}ple.c\u{200d}om", "example.com"),
            ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
            ("example。com", "example.com"),
            ("example․com", "example.com"),
            ("пример.рф", "пример.рф"),
            ("example.соm", "example.соm"),
            ("clickhttp://example.com", "example.com"),
            ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
        ];
        for (text, host) in links {
            assert_eq!(first_forbidden(&[], text).as_deref(), Some(host), "{text}");
        }
    }

    #[test]
    fn text_that_resembles_a_link_passes() {
        let innocent = [
            "",
            "hello",
            "ok.so then",
            "yes.it is",
            "e.g. this",
            "i.e.",
            "v1.2.3",
            "1.2.3.4",
            "3.14",
            "10:30",
            "main.rs",
            "node.js",
            "readme.md",
            "setup.py",
            "script.sh",
            "wait...what",
            "u.s.a.",
            "bob@example.com",
            "dot",
            "connect the dots",
            "the dot com bubble",
            "...",
            "polka dot dress",
            "a:b",
            "score 3:2",
            ":)",
            "c:/temp",
            "and/or",
            "w.w.w",
            "lol.no",
            "http",
            "://",
            "http://",
            "end.Start",
            "p.s. hi",
            "Mr.Smith",
            "file.tar.gz",
            "привет.как",
        ];
        for text in innocent {
            assert_eq!(first_forbidden(&[], text), None, "{text}");
        }
    }

    #[test]
    fn allowed_hosts_allow_only_their_subdomains() {
        let allowed = ["example.com", "*.Clips.example.org", ""];
        for text in [
            "https://example.com/x",
            "www.example.com",
            "a.b.example.com",
            "example dot com",
            "x.clips.example.org",
            "clips.example.org/1 and example.com",
        ] {
            assert_eq!(first_forbidden(&allowed, text), None, "{text}");
        }
        for text in [
            "notexample.com",
            "example.com.evil.net",
            "http://example.com@evil.net",
            "example.org",
            "ехample.com",
            "example.com evil.net",
            "http://evil.net/example.com",
        ] {
            assert!(first_forbidden(&allowed, text).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = first_forbidden(&["example.com"], &text);
        }

        #[test]
        fn no_address_panics(text in "[a-z.:/@?#\\[\\]() -]{0,60}") {
            let _ = first_forbidden(&["example.com"], &text);
        }
    }
}
