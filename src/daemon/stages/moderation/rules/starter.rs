//! The terms that are looked for unless `starter_list` is off: slurs and threats that are wrong in
//! every room. Terms with another common meaning are not among them.

use std::sync::{Arc, LazyLock};

use super::blocked_words::BlockedWords;
use super::word_file;

/// In the form of a file of blocked words.
const TERMS: &str = include_str!("starter_list.txt");
/// One phrase per line that is innocent although it has a term.
const INNOCENTS: &str = include_str!("starter_innocents.txt");

static LIST: LazyLock<Arc<BlockedWords>> = LazyLock::new(|| Arc::new(build(&[])));

/// Returns the list; an operator's `allowed` words are innocent, too.
pub(super) fn starter_list(allowed: &[String]) -> Arc<BlockedWords> {
    if allowed.is_empty() { LIST.clone() } else { Arc::new(build(allowed)) }
}

fn build(allowed: &[String]) -> BlockedWords {
    let mut innocents = lines(INNOCENTS);
    innocents.extend_from_slice(allowed);
    let terms = terms();
    let terms = terms.iter().map(String::as_str);
    BlockedWords::new(terms, &innocents).expect("the terms have letters")
}

pub(super) fn terms() -> Vec<String> {
    word_file::read(TERMS.as_bytes()).words
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::moderation::rules::fold::Reading;

    #[test]
    fn every_line_of_the_lists_can_be_used() {
        let file = word_file::read(TERMS.as_bytes());
        assert!(file.bad_lines.is_empty(), "{:?}", file.bad_lines);
        assert!((30..=100).contains(&file.words.len()), "{}", file.words.len());
        let mut once = file.words.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), file.words.len(), "a term stands there twice");
    }

    #[test]
    fn an_operator_may_allow_a_term() {
        let reading = Reading::new("kys");
        assert_eq!(starter_list(&[]).find(&reading), Some("kys"));
        assert_eq!(starter_list(&["KYS".to_owned()]).find(&reading), None);
    }

    #[test]
    fn every_innocent_phrase_has_a_term() {
        let terms = terms();
        let bare = BlockedWords::new(terms.iter().map(String::as_str), &[]).unwrap();
        for phrase in lines(INNOCENTS) {
            let reading = Reading::new(&phrase);
            assert!(bare.find(&reading).is_some(), "`{phrase}` needs no exception");
            assert_eq!(starter_list(&[]).find(&reading), None, "{phrase}");
        }
    }
}
