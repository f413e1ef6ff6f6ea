//! Host names whose parts stand apart: `example dot com`, `example . ru`, `example .com`,
//! `e x a m p l e . c o m`.
//!
//! In: a normal text. Out: the hosts. Each word of a sentence may be the name of a host, so the
//! parts have to tell: the ending is no word of a chat, and where the place of the dot does not
//! tell by itself, neither is the name.

use super::bare::{self, Follow, NEVER_WORDS, is_in_name, is_known, is_top_level, is_word, latin};

/// The doubt that is left to a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Only what can hardly be a sentence.
    Sure,
    /// Also what could be one. Something else must make the text suspect.
    Suspected,
}

/// Endings that also begin or end a sentence of a chat: behind a dot with spaces, their name must
/// not be a word.
const WORDY: [&str; 6] = ["info", "tv", "io", "co", "gg", "link"];
/// Endings that chats write as words: good luck, good night, milliseconds.
const CHAT_WORDS: [&str; 14] =
    ["gl", "gn", "np", "gm", "cu", "bb", "ms", "gf", "ng", "pm", "am", "st", "nd", "th"];
/// Countries that are no words, as far as a full stop between spaces tells. Most countries have the
/// two letters of a word of some language: `isso . ai sim`, `bien . es verdad`.
const COUNTRIES: [&str; 13] =
    ["ru", "su", "ua", "kz", "cc", "ly", "tk", "ml", "cf", "gq", "pw", "ws", "uk"];
/// Endings that begin no sentence, so that a full stop in front belongs to them.
const BEGIN_NO_SENTENCE: [&str; 2] = ["com", "org"];
/// Endings that rarely end a sentence that begins with them.
const RARELY_ALONE: [&str; 6] = ["net", "biz", "ru", "su", "xyz", "shop"];
/// The least letters of a name.
const MIN_NAME: usize = 3;
/// The least letters of a name that is spelled out.
const MIN_SPELLED_NAME: usize = 4;
/// The least single characters in a row that are read as a spelled-out word.
const MIN_SPELLED: usize = 3;

/// Returns the hosts of a normal text whose parts stand apart.
pub(super) fn hosts(text: &str, care: Care) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        found.extend(Parts::read(word, &words[at + 1..], care).and_then(|parts| parts.host(care)));
    }
    found.extend(spelled_out(&words));
    found
}

/// The place of the dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    /// `example . com`
    Between,
    /// `example dot com`
    Spoken,
    /// `example punto com`: a word of a language, so its ending has to be a plain one.
    Named,
    /// `example .com`
    Before,
    /// `example. com`
    After,
    /// `example,com`
    Comma,
    /// `example com`
    Missing,
}

/// A word, and what may be the ending of the host that it names.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    name: &'a str,
    ending: &'a str,
    dot: Dot,
    has_path: bool,
    /// Nothing of the sentence follows.
    is_last: bool,
}

impl<'a> Parts<'a> {
    /// Reads a word and those after it.
    fn read(word: &'a str, after: &[&'a str], care: Care) -> Option<Self> {
        let (name, ending, dot, rest) = match after {
            [".", ending, rest @ ..] => (word, *ending, Dot::Between, rest),
            [dot, ending, rest @ ..] if is_dot(dot) => (word, *ending, Dot::Spoken, rest),
            [dot, ending, rest @ ..] if is_named_dot(dot) => (word, *ending, Dot::Named, rest),
            [ending, rest @ ..] if ending.len() > 1 && ending.starts_with('.') => {
                (word, &ending[1..], Dot::Before, rest)
            }
            [ending, rest @ ..] if word.ends_with('.') => {
                (word.strip_suffix('.')?, *ending, Dot::After, rest)
            }
            rest if word.contains(',') => {
                let (name, ending) = word.split_once(',')?;
                (name, ending, Dot::Comma, rest)
            }
            [ending, rest @ ..] if care == Care::Suspected => (word, *ending, Dot::Missing, rest),
            _ => return None,
        };
        let cut = ending.find(|c: char| !is_in_name(c)).unwrap_or(ending.len());
        let follow = &ending[cut..];
        let ending = ending[..cut].trim_matches(['-', '_', '.']);
        let before = name.trim_end_matches(is_in_name);
        let name = name[before.len()..].trim_matches(['-', '_', '.']);
        let is_mailbox = before.ends_with('@');
        let is_last = rest.is_empty() || follow.starts_with(|c: char| !c.is_alphanumeric());
        // Between spaces, a slash belongs to an ending that is no word.
        let has_spaced_path = || {
            NEVER_WORDS.contains(&ending) && rest.first().is_some_and(|next| next.starts_with('/'))
        };
        let has_path = Follow::of(follow) == Follow::Path || has_spaced_path();
        (!is_mailbox).then_some(Self { name, ending, dot, has_path, is_last })
    }

    fn host(self, care: Care) -> Option<String> {
        let Self { name, ending, .. } = self;
        let is_name = name.chars().count() >= MIN_NAME
            && name.chars().any(char::is_alphabetic)
            && !is_function_word(name);
        // The search for the ending is the dearest, and comes last.
        let is_host = is_name && self.can_be_host(care) && self.has_ending();
        is_host.then(|| format!("{name}.{ending}"))
    }

    /// Returns whether the place of the dot allows a host.
    fn can_be_host(self, care: Care) -> bool {
        let Self { name, ending, .. } = self;
        let is_suspected = care == Care::Suspected;
        match self.dot {
            // `well played . gg`
            Dot::Between if ending == "gg" => is_suspected || self.has_path,
            Dot::Between | Dot::Spoken if WORDY.contains(&ending) => {
                is_suspected || self.has_path || !is_word(name)
            }
            Dot::Between => is_suspected || ending.len() != 2 || COUNTRIES.contains(&ending),
            Dot::Spoken => true,
            Dot::Named => {
                matches!(ending, "com" | "net" | "org") || matches!(ending, "ру" | "ком" | "рф")
            }
            Dot::Before => is_suspected || !is_word(name),
            Dot::After => {
                let may_end = BEGIN_NO_SENTENCE.contains(&ending)
                    || self.has_path
                    || RARELY_ALONE.contains(&ending) && (is_suspected || self.is_last);
                may_end && !is_word(name)
            }
            Dot::Comma => !is_word(name) && (ending == "com" || is_suspected),
            Dot::Missing => !is_word(name) && matches!(ending, "com" | "ru"),
        }
    }

    /// Returns whether the ending is a top-level domain, and no word of a chat.
    fn has_ending(self) -> bool {
        let Self { name, ending, dot, .. } = self;
        if dot == Dot::Named || NEVER_WORDS.contains(&ending) || ending == "ru" {
            return true;
        }
        if is_word(ending) || CHAT_WORDS.contains(&ending) {
            return false;
        }
        if ending.is_ascii() || ending.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return is_top_level(ending);
        }
        // Two letters of another alphabet are a word more often than a disguise.
        is_known(ending) || name.is_ascii() && ending.chars().count() >= 3 && is_top_level(ending)
    }
}

/// Returns the hosts that are spelled out in single letters, also in part: `e x a m p l e.com`.
fn spelled_out(words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let count = words[at..].iter().take_while(|word| is_single(word)).count();
        if count >= MIN_SPELLED {
            let mut joined: String = words[at..at + count]
                .iter()
                .map(|word| if is_dot(word) { "." } else { word })
                .collect();
            if let Some(next) = words.get(at + count) {
                let second = next.chars().nth(1);
                if joined.ends_with('.') || next.starts_with('.') || second == Some('.') {
                    joined.push_str(next);
                }
            }
            let host = bare::first_host(&joined).filter(|host| {
                let (name, ending) = host.rsplit_once('.').unwrap_or_default();
                let is_cheer = WORDY.contains(&ending) && is_word(name);
                host.split('.').any(|label| label.chars().count() >= MIN_SPELLED_NAME) && !is_cheer
            });
            found.extend(host);
        }
        at += count.max(1);
    }
    found
}

fn is_single(word: &str) -> bool {
    let mut letters = word.chars();
    let first = letters.next();
    is_dot(word) || first.is_some_and(char::is_alphanumeric) && letters.next().is_none()
}

fn is_dot(word: &str) -> bool {
    matches!(word, "." | "dot" | "d0t")
        || word.len() > 3 && !word.is_ascii() && latin(word) == "dot"
}

fn is_named_dot(word: &str) -> bool {
    matches!(word, "punto" | "ponto" | "punkt" | "точка")
}

/// Returns whether a word before `dot com` does not name a host.
fn is_function_word(word: &str) -> bool {
    matches!(
        word,
        "the"
            | "that"
            | "this"
            | "every"
            | "some"
            | "any"
            | "with"
            | "for"
            | "and"
            | "dot"
            | "use"
            | "using"
            | "buy"
            | "all"
            | "few"
            | "asp"
            | "microsoft"
    )
}

#[cfg(test)]
mod tests;
