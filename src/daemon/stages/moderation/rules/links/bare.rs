//! Host names without a scheme.

use std::ops::Range;
use std::sync::LazyLock;

use ahash::AHashSet;

use super::{Forbidden, path_end};
use crate::daemon::stages::moderation::rules::glyph::{Glyph, glyph};

/// The words that open logs of live chats and of IRC use most. Most of them end or begin a
/// sentence.
const COMMON_WORDS: &str = include_str!("common_words.txt");
/// Names of files, and their endings that are also top-level domains.
const FILE_NAMES: [&str; 14] = [
    "readme",
    "index",
    "changelog",
    "todo",
    "license",
    "makefile",
    "rs",
    "md",
    "py",
    "sh",
    "pl",
    "so",
    "zip",
    "ps",
];

/// Top-level domains that are never read as the word after a full stop, although some are words.
pub(super) const NEVER_WORDS: [&str; 13] =
    ["com", "net", "org", "info", "biz", "edu", "gov", "mil", "tv", "io", "co", "gg", "link"];
/// Roots outside the DNS that browsers and wallets resolve.
const OTHER_ROOTS: [&str; 4] = ["eth", "crypto", "nft", "i2p"];

static COMMON: LazyLock<AHashSet<&'static str>> =
    LazyLock::new(|| COMMON_WORDS.split_ascii_whitespace().chain(FILE_NAMES).collect());

/// Returns the host of the first host name outside of `taken` that is a link and not allowed.
pub(super) fn check(
    text: &str,
    taken: &[Range<usize>],
    allows: impl Fn(&str) -> bool,
) -> Result<(), Forbidden> {
    let mut free_from = 0;
    for (start, run) in runs(text).filter(|(_, run)| run.contains('.')) {
        if start < free_from || taken.iter().any(|address| address.contains(&start)) {
            continue;
        }
        for candidate in candidates(text, start, run) {
            if !candidate.is_link() {
                continue;
            }
            if !allows(&candidate.host) {
                return Err(candidate.host);
            }
            // Only a path belongs to the allowed host. Any other text is looked at as well.
            free_from = match candidate.follow {
                Follow::Path | Follow::Query => path_end(text, candidate.end),
                Follow::Other => candidate.end,
            };
        }
    }
    Ok(())
}

/// Returns the first host of a text of joined letters that is a link.
pub(super) fn first_host(text: &str) -> Option<String> {
    let mut all = runs(text).flat_map(|(start, run)| candidates(text, start, run));
    all.find(Candidate::is_link).map(|candidate| candidate.host)
}

/// Returns all sequences of characters that host names consist of.
fn runs(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !is_in_name(c))
        .filter(|run| !run.is_empty())
        .map(move |run| (run.as_ptr() as usize - text.as_ptr() as usize, run))
}

pub(super) fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

/// A text that may be a host name.
#[derive(Debug)]
struct Candidate {
    host: String,
    /// The byte after it in the text.
    end: usize,
    follow: Follow,
}

/// The text directly after a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// A path or a port.
    Path,
    /// A query or a fragment, or a question and a hash tag.
    Query,
    Other,
}

impl Follow {
    pub(super) fn of(rest: &str) -> Self {
        let mut rest = rest.chars();
        let first = rest.next();
        let second = rest.next();
        match first {
            Some('/' | '\\') => Self::Path,
            Some(':') if second.is_some_and(|c| c.is_ascii_digit()) => Self::Path,
            Some('?' | '#') if second.is_some_and(char::is_alphanumeric) => Self::Query,
            _ => Self::Other,
        }
    }
}

fn candidates(text: &str, start: usize, run: &str) -> Vec<Candidate> {
    let before = text[..start].chars().next_back();
    let after_run = &text[start + run.len()..];
    let is_mailbox = after_run.starts_with('@');
    let in_mail = before == Some('@') && Follow::of(after_run) == Follow::Other;
    if is_mailbox || in_mail {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = start;
    for part in run.split("..") {
        push(text, at, part, &mut found);
        // Other scripts are written without a space around a name.
        if !part.is_ascii() {
            for latin in part.split(|c: char| !c.is_ascii()).filter(|latin| !latin.is_empty()) {
                push(text, latin.as_ptr() as usize - text.as_ptr() as usize, latin, &mut found);
            }
        }
        at += part.len() + 2;
    }
    // `discord .gg/abc`
    let ending = run.strip_prefix('.').filter(|ending| !ending.contains('.'));
    let ending = ending.filter(|_| before == Some(' '));
    if let Some(ending) = ending {
        let name = text[..start].trim_end().rsplit(|c: char| !is_in_name(c)).next();
        let name = name.unwrap_or_default().trim_matches(['-', '_', '.']);
        let host = format!("{name}.{ending}");
        let end = start + run.len();
        if !name.is_empty() && Follow::of(&text[end..]) == Follow::Path {
            found.push(Candidate { host, end, follow: Follow::Path });
        }
    }
    found
}

fn push(text: &str, at: usize, part: &str, found: &mut Vec<Candidate>) {
    let host = part.trim_matches(['-', '_', '.']);
    if host.contains('.') {
        let end = at + part.len();
        found.push(Candidate { host: host.to_owned(), end, follow: Follow::of(&text[end..]) });
    }
}

impl Candidate {
    fn is_link(&self) -> bool {
        let labels: Vec<&str> = self.host.split('.').collect();
        let [.., name, last] = labels[..] else { return false };
        // The DNS bounds the encoded label, which has at least as many bytes as characters.
        if !labels.iter().all(|label| (1..=63).contains(&label.chars().count())) {
            return false;
        }
        let has_path = self.follow == Follow::Path;
        if labels[0] == "www" {
            return true;
        }
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            let is_address = labels.len() == 4 && labels.iter().all(|l| l.parse::<u8>().is_ok());
            return is_address && has_path;
        }
        if !is_top_level(last) {
            return false;
        }
        if has_path {
            return true;
        }
        // `e.g`, `a.m`
        if name.chars().count() == 1 && last.len() == 2 {
            return false;
        }
        let is_sentence = !NEVER_WORDS.contains(&last) && labels.iter().all(|l| is_word(l));
        !is_sentence || self.follow == Follow::Query
    }
}

pub(super) fn is_word(label: &str) -> bool {
    COMMON.contains(label) || label.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the last label of a host name is a top-level domain as it is written.
pub(super) fn is_known(label: &str) -> bool {
    // A name in front: some endings have only names of three labels below them.
    let name = format!("a.a.{label}");
    psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

/// Returns whether the last label of a host name is a top-level domain, also in look-alike letters.
pub(super) fn is_top_level(label: &str) -> bool {
    OTHER_ROOTS.contains(&label) || is_known(label) || !label.is_ascii() && is_known(&latin(label))
}

/// Returns a label with letters of other alphabets replaced by the Latin ones they resemble.
pub(super) fn latin(label: &str) -> String {
    let letter = |character| match glyph(character) {
        Glyph::Letter(letter) => letter,
        _ => character,
    };
    label.chars().map(letter).collect()
}
