//! Reads a file of blocked words as editors write it.

use super::blocked_words::BlockedWords;

/// Numbers of bad lines that are shown.
const MAX_SHOWN: usize = 10;

/// The words of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WordFile {
    pub(super) words: Vec<String>,
    /// The numbers of lines that cannot be matched or read, from 1.
    pub(super) bad_lines: Vec<usize>,
}

impl WordFile {
    /// Returns the numbers of the first bad lines, and how many there are beyond.
    pub(super) fn shown_bad_lines(&self) -> String {
        let shown: Vec<_> = self.bad_lines.iter().take(MAX_SHOWN).map(usize::to_string).collect();
        match self.bad_lines.len().saturating_sub(MAX_SHOWN) {
            0 => shown.join(", "),
            rest => format!("{} and {rest} more", shown.join(", ")),
        }
    }
}

/// Reads UTF-8 or, if it begins with a byte order mark, UTF-16. Lines end with LF, CRLF or CR. A
/// line that begins with `#` is a comment; after a word, ` # ` begins one.
pub(super) fn read(bytes: &[u8]) -> WordFile {
    let bytes = as_utf8(bytes);
    let mut file = WordFile::default();
    let mut number = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for line in line.split(|byte| *byte == b'\r') {
            number += 1;
            let Ok(line) = str::from_utf8(line) else {
                file.bad_lines.push(number);
                continue;
            };
            let word = without_comment(line);
            if word.is_empty() {
                continue;
            }
            match BlockedWords::new([word], &[]) {
                Ok(_) => file.words.push(word.to_owned()),
                Err(_) => file.bad_lines.push(number),
            }
        }
    }
    file
}

fn as_utf8(bytes: &[u8]) -> Vec<u8> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks(2).map(|pair| unit([pair[0], pair.get(1).copied().unwrap_or(0)]));
        char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>()
            .into_bytes()
    };
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => rest.to_vec(),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => bytes.to_vec(),
    }
}

fn without_comment(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') {
        return "";
    }
    let comment = line.match_indices('#').find(|(at, _)| {
        let before = &line[..*at];
        let after = &line[at + 1..];
        before.ends_with(char::is_whitespace)
            && (after.is_empty() || after.starts_with(char::is_whitespace))
    });
    comment.map_or(line, |(at, _)| line[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_written_and_bad_ones_numbered() {
        let file = read(
            b"\xEF\xBB\xBF*spam*\r\n# a comment\r\n\r\nf#ck\r\nbadword # the worst\nbad #word\n***\n\xFF\xFE\nend",
        );
        assert_eq!(file.words, ["*spam*", "f#ck", "badword", "bad #word", "end"]);
        assert_eq!(file.bad_lines, [7, 8]);
        assert_eq!(file.shown_bad_lines(), "7, 8");
        assert_eq!(read(b"one\rtwo\r").words, ["one", "two"]);
        assert_eq!(read(b"\xFE\xFF\0a\0b").words, ["ab"]);
        assert_eq!(read(b""), WordFile::default());
        let many = read("***\n".repeat(12).as_bytes());
        assert_eq!(many.shown_bad_lines(), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }
}
