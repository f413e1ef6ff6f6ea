//! Text of others in cells: which clusters are shown, how wide they are, where a text is cut.
//!
//! Always holds: what leaves this module is one line, controls no terminal, and is as wide as it
//! says on every terminal.

use std::borrow::Cow;

use ratatui::text::Span;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::protocol::printable::printable;

/// Stands for a cluster whose width terminals do not agree on.
const UNAGREED: &str = "□";
/// The mark at the end of a text that was cut.
pub(crate) const CUT: &str = "…";
/// Combining marks that a cluster keeps. More of them reach into the rows above and below.
const MAX_MARKS: usize = 2;

/// Returns the number of cells that a text takes.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Returns the text with each cluster replaced that could control a terminal, or whose width
/// terminals do not agree on.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let safe = printable(text);
    let mut shown = String::with_capacity(safe.len());
    for cluster in safe.graphemes(true) {
        shown.push_str(agreed(cluster));
    }
    Cow::Owned(shown)
}

/// Returns what is shown of a cluster.
fn agreed(cluster: &str) -> &str {
    let mut chars = cluster.char_indices();
    let Some((_, base)) = chars.next() else { return "" };
    let base_width = width(&cluster[..base.len_utf8()]);
    let mut marks = 0;
    for (at, mark) in chars {
        match mark {
            // Asks for a coloured picture; the plain sign has one width everywhere.
            '\u{FE0E}' | '\u{FE0F}' if base_width == 1 => return &cluster[..base.len_utf8()],
            '\u{200D}' | '\u{FE0E}' | '\u{FE0F}' | '\u{20E3}' => return UNAGREED,
            _ if width(&cluster[at..at + mark.len_utf8()]) > 0 => return UNAGREED,
            _ => marks += 1,
        }
    }
    match base_width {
        // A mark without a base joins whatever stands before it.
        0 => "",
        1 | 2 if marks <= MAX_MARKS && width(cluster) == base_width => cluster,
        _ => UNAGREED,
    }
}

/// Returns the start of a clean text that fits, with a mark at its end if it was cut.
pub(crate) fn cut(text: &str, room: usize) -> Cow<'_, str> {
    let shown = clean(text);
    if width(&shown) <= room {
        return shown;
    }
    if room == 0 {
        return Cow::Borrowed("");
    }
    let mut kept = String::with_capacity(room);
    let mut used = 0;
    for cluster in shown.graphemes(true) {
        used += width(cluster);
        if used > room - 1 {
            break;
        }
        kept.push_str(cluster);
    }
    kept.push_str(CUT);
    Cow::Owned(kept)
}

/// Returns the start and the end of a text that fits, with a mark between them if it was cut. It is
/// for names, which often differ at their ends.
pub(crate) fn cut_middle(text: &str, room: usize) -> Cow<'_, str> {
    let shown = clean(text);
    if width(&shown) <= room {
        return shown;
    }
    let kept = room.saturating_sub(width(CUT));
    let end = cut_start(&shown, kept / 2);
    // With its own mark, which is the one between both parts.
    let start = cut(&shown, room.saturating_sub(width(&end))).into_owned();
    Cow::Owned(format!("{start}{end}"))
}

/// Returns the end of a text that fits, for a line that is being typed.
pub(crate) fn cut_start(text: &str, room: usize) -> String {
    let shown = clean(text);
    let mut kept: Vec<&str> = Vec::new();
    let mut used = 0;
    for cluster in shown.graphemes(true).rev() {
        used += width(cluster);
        if used > room {
            break;
        }
        kept.push(cluster);
    }
    kept.iter().rev().copied().collect()
}

/// Returns a text in rows of at most `room` cells, divided between words where there are any. The
/// last row ends with a mark if `rows` do not suffice.
pub(crate) fn wrap(text: &str, room: usize, rows: usize) -> Vec<String> {
    let shown = clean(text);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in shown.split(' ') {
        let separator = usize::from(!line.is_empty());
        if width(&line) + separator + width(word) <= room {
            if separator == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while width(rest) > room && room > 0 {
            let end = fitting(rest, room);
            lines.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        line.push_str(rest);
    }
    lines.push(line);
    if lines.len() > rows {
        lines.truncate(rows);
        if let Some(last) = lines.last_mut() {
            *last = cut(&format!("{last}{CUT}"), room).into_owned();
        }
    }
    lines
}

/// Returns the length of the longest start that fits, at least one cluster.
fn fitting(text: &str, room: usize) -> usize {
    let mut used = 0;
    let mut end = 0;
    for (at, cluster) in text.grapheme_indices(true) {
        used += width(cluster);
        if used > room && end > 0 {
            break;
        }
        end = at + cluster.len();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clusters_of_one_width_are_kept() {
        for kept in ["Grand final", "决赛直播间", "Жук", "ö", "e\u{301}", "각", "🪲"] {
            assert_eq!(clean(kept), kept);
        }
    }

    #[test]
    fn clusters_of_doubtful_width_become_a_box() {
        assert_eq!(clean("👨\u{200d}👩\u{200d}👧!"), "□!");
        assert_eq!(clean("🇩🇪"), "□");
        assert_eq!(clean("👍🏽"), "□");
        assert_eq!(clean("1\u{fe0f}\u{20e3}"), "1");
        assert_eq!(clean("❤\u{fe0f}"), "❤");
        let zalgo = format!("a{}b", "\u{301}".repeat(20));
        assert_eq!(clean(&zalgo), "□b");
        assert_eq!(clean("a\u{202e}b\u{1b}[2J"), "a\u{fffd}b\u{fffd}[2J");
    }

    #[test]
    fn a_cut_text_ends_with_a_mark() {
        assert_eq!(cut("Grand final", 11), "Grand final");
        assert_eq!(cut("Grand final", 6), "Grand…");
        assert_eq!(cut("决赛直播间", 6), "决赛…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(cut("abc", 1), "…");
        assert_eq!(cut_start("abcdef", 3), "def");
    }

    #[test]
    fn a_long_name_is_cut_in_its_middle() {
        assert_eq!(cut_middle("966586568162943", 9), "9665…2943");
        assert_eq!(cut_middle("load9665865682943", 10), "load9…2943");
        assert_eq!(cut_middle("edge-12", 7), "edge-12");
        assert_eq!(cut_middle("决赛直播间", 6), "决…间");
        assert_eq!(cut_middle("abc", 1), "…");
        assert_eq!(cut_middle("abc", 0), "");
    }

    #[test]
    fn texts_wrap_between_words() {
        assert_eq!(wrap("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7, 1), ["one tw…"]);
        assert_eq!(wrap("abcdefgh", 3, 9), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3, 9), [""]);
    }

    proptest! {
        #[test]
        fn no_text_is_wider_than_its_room(text in any::<String>(), room in 0_usize..40) {
            prop_assert!(width(&cut(&text, room)) <= room);
            prop_assert!(width(&cut_middle(&text, room)) <= room);
            prop_assert!(width(&cut_start(&text, room)) <= room);
            for line in wrap(&text, room.max(2), 5) {
                prop_assert!(width(&line) <= room.max(2), "{line:?}");
            }
        }
    }
}
