//! Asks the terminal for its background (OSC 11), which chooses the theme.
//!
//! In: what the terminal answers within [`PATIENCE`]. Out: the background, the keys that were
//! pressed meanwhile, and a filter for an answer that comes later. Always holds: no byte of an
//! answer is taken for a key; the terminal is in the same mode as before. Terminals that do not
//! know the question still answer the one after it (their attributes), so only a slow link is
//! waited for to the end.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Longest wait for the answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// Pause between two looks for an answer.
const PAUSE: Duration = Duration::from_millis(2);
/// The background, then the attributes of the terminal.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\\x1b[c";
/// No answer is longer, in bytes.
const MAX_ANSWER: usize = 4_096;
/// An answer that came in part or not at all is kept from the keys for this long.
const LATE_FOR_MS: u64 = 10_000;
/// Keys that one late answer may look like.
const MAX_LATE_KEYS: usize = 64;

/// The background of a terminal; each channel is from 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Background {
    red: f64,
    green: f64,
    blue: f64,
}

impl Background {
    /// Returns whether text on it is dark: black has the larger contrast.
    pub(super) fn is_light(self) -> bool {
        let light = |channel: f64| {
            if channel <= 0.040_45 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        };
        let luminance =
            0.2126 * light(self.red) + 0.7152 * light(self.green) + 0.0722 * light(self.blue);
        (luminance + 0.05).powi(2) > 1.05 * 0.05
    }

    /// Reads `rgb:1d1d/1f1f/2121`, with one to four hexadecimal digits per channel.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("rgb:").or_else(|| text.strip_prefix("rgba:"))?;
        let mut channels = text.split('/').map(|digits| {
            let value = u32::from_str_radix(digits, 16).ok()?;
            let most = 16_u32.checked_pow(u32::try_from(digits.len()).ok()?)? - 1;
            (digits.len() <= 4).then(|| f64::from(value) / f64::from(most))
        });
        let mut next = || channels.next().flatten();
        Some(Self { red: next()?, green: next()?, blue: next()? })
    }
}

/// The bytes that came from the terminal after the question, divided into answers and keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answer {
    pub(super) background: Option<Background>,
    /// Characters that were typed meanwhile.
    pub(super) typed: String,
    pub(super) late: LateAnswer,
}

impl Answer {
    /// Divides what was read into answers and keys. Keys that are no characters are dropped.
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut answer = Self::default();
        let mut rest = &*text;
        answer.late.state = LateState::Expected;
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("\x1b]") {
                let end = after.find(['\x07', '\x1b']);
                let told = &after[..end.unwrap_or(after.len())];
                if let Some(colour) = told.strip_prefix("11;") {
                    answer.background = answer.background.or(Background::parse(colour));
                }
                let Some(end) = end else {
                    answer.background = None;
                    answer.late.state = LateState::Background(0);
                    break;
                };
                let end = &after[end..];
                if end == "\x1b" {
                    // The second half of its end is still to come.
                    answer.late.state = LateState::Background(0);
                    break;
                }
                answer.late.state = LateState::Done;
                rest = end.strip_prefix("\x1b\\").or(end.strip_prefix('\x07')).unwrap_or(end);
            } else if let Some(after) = rest.strip_prefix("\x1b[") {
                let Some(end) = after.find(|c: char| ('@'..='~').contains(&c)) else {
                    answer.late.state = LateState::Attributes(0);
                    break;
                };
                rest = &after[end + 1..];
            } else if rest == "\x1b" {
                answer.late.state = match answer.late.state {
                    LateState::Done => LateState::Attributes(0),
                    _ => LateState::Background(0),
                };
                break;
            } else {
                if !c.is_control() && c != char::REPLACEMENT_CHARACTER {
                    answer.typed.push(c);
                }
                rest = &rest[c.len_utf8()..];
            }
        }
        answer
    }

    fn is_complete(bytes: &[u8]) -> bool {
        // The attributes come last: ESC [ ? … c.
        let begun = bytes.windows(3).rposition(|part| part == b"\x1b[?");
        begun.is_some_and(|at| bytes[at..].contains(&b'c'))
    }
}

/// Asks the controlling terminal.
///
/// # Errors
/// There is none, or it cannot be read; the theme is then chosen without it.
pub(super) fn ask() -> io::Result<Answer> {
    let mut terminal = File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open("/dev/tty")?;
    enable_raw_mode()?;
    let bytes = exchange(&mut terminal);
    disable_raw_mode()?;
    Ok(Answer::parse(&bytes?))
}

fn exchange(terminal: &mut File) -> io::Result<Vec<u8>> {
    terminal.write_all(QUESTION)?;
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let mut buffer = [0; 256];
    while !Answer::is_complete(&bytes) && bytes.len() < MAX_ANSWER && Instant::now() < deadline {
        match terminal.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum LateState {
    /// Everything has come.
    #[default]
    Done,
    /// No background has come. It may still: a multiplexer answers for its attributes itself, and
    /// asks the terminal for the background.
    Expected,
    /// The beginning of the background has come, and so many keys of it.
    Background(usize),
    /// The same of the attributes.
    Attributes(usize),
}

/// Keeps an answer that comes late from the keys. The background is read as Alt-], its text, and
/// Alt-\ or Ctrl-G. Whole attributes are no key; cut ones are their last characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LateAnswer {
    state: LateState,
}

impl LateAnswer {
    /// Returns whether a key is a part of the answer. `clock_ms` is the time since the question.
    pub(super) fn takes(&mut self, key: KeyEvent, clock_ms: u64) -> bool {
        if clock_ms > LATE_FOR_MS {
            self.state = LateState::Done;
        }
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let KeyCode::Char(c) = key.code else { return false };
        match self.state {
            LateState::Done => false,
            LateState::Expected => {
                let begins = alt && c == ']';
                if begins {
                    self.state = LateState::Background(0);
                }
                begins
            }
            LateState::Background(keys) => {
                let ends = c == '\\' || (control && c == 'g');
                let continues = c.is_ascii_hexdigit() || "];:/rg".contains(c);
                self.state = next(ends, continues, keys, LateState::Background);
                ends || continues
            }
            LateState::Attributes(keys) => {
                let ends = c == 'c';
                let continues = c.is_ascii_digit() || "[?;".contains(c);
                self.state = next(ends, continues, keys, LateState::Attributes);
                ends || continues
            }
        }
    }
}

fn next(ends: bool, continues: bool, keys: usize, state: fn(usize) -> LateState) -> LateState {
    if ends || !continues || keys + 1 >= MAX_LATE_KEYS {
        return LateState::Done;
    }
    state(keys + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> Vec<KeyEvent> {
        text.chars().map(|c| KeyCode::Char(c).into()).collect()
    }

    fn alt(c: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(c), KeyModifiers::ALT)
    }

    #[test]
    fn the_answer_tells_dark_from_light() {
        for (told, light) in [
            ("rgb:1d1d/1f1f/2121", false),
            ("rgb:fdfd/f6f6/e3e3", true),
            ("rgb:0/0/0", false),
            ("rgb:ff/ff/ff", true),
            ("rgba:00/2b/36/ff", false),
            ("rgb:80/80/80", true),
        ] {
            let answer = Answer::parse(format!("\x1b]11;{told}\x1b\\\x1b[?62;22c").as_bytes());
            assert_eq!(answer.background.map(Background::is_light), Some(light), "{told}");
            assert_eq!(answer.late, LateAnswer::default(), "{told}");
        }
        for wrong in ["rgb:", "rgb:1/2", "rgb:12345/0/0", "rgb:x/0/0", "red"] {
            assert_eq!(Background::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn typed_keys_are_told_from_the_answer() {
        let answer = Answer::parse(b"2\x1b]11;rgb:0/0/0\x07/gr\x1b[A\x1b[?1;2cand");
        assert_eq!(answer.typed, "2/grand");
        assert!(answer.background.is_some());
        let unknown = Answer::parse(b"\x1b[?1;2c");
        assert_eq!((unknown.background, &*unknown.typed), (None, ""), "it knows no OSC 11");
        assert!(Answer::is_complete(b"x\x1b[?1;2c") && !Answer::is_complete(b"\x1b[?1;2"));
    }

    #[test]
    fn a_late_answer_reaches_no_key() {
        let mut late = Answer::parse(b"").late;
        let q = KeyEvent::from(KeyCode::Char('q'));
        assert!(!late.takes(q, 1), "keys work while it is waited for");
        assert!(late.takes(alt(']'), 150));
        for key in keys("11;rgb:1d1d/1f1f/2121") {
            assert!(late.takes(key, 151), "{key:?}");
        }
        assert!(late.takes(alt('\\'), 152));
        assert!(!late.takes(q, 153));
        // Of a multiplexer, which answered the question after it at once.
        let mut late = Answer::parse(b"\x1b[?1;2c").late;
        assert!(!late.takes(q, 1));
        assert!(late.takes(alt(']'), 150));
        assert!(keys("11;rgb:0/0/0").into_iter().all(|key| late.takes(key, 151)));
        assert!(late.takes(alt('\\'), 152) && !late.takes(q, 153));
        // The other end, and an answer of which half came in time.
        let mut late = Answer::parse(b"\x1b]11;rgb:1d1d/1f").late;
        for key in keys("1f/2121") {
            assert!(late.takes(key, 1), "{key:?}");
        }
        assert!(late.takes(KeyEvent::new(KeyCode::Char('g'), KeyModifiers::CONTROL), 2));
        assert!(!late.takes(q, 3));
        let mut late = Answer::parse(b"\x1b]11;rgb:0/0/0\x1b\\\x1b[?6").late;
        for key in keys("2;22c") {
            assert!(late.takes(key, 1), "{key:?}");
        }
        assert!(!late.takes(KeyCode::Char('2').into(), 2));
        let mut late = Answer::parse(b"\x1b]11;rgb:0/0/0\x1b\\\x1b").late;
        assert!(keys("[?62;22c").into_iter().all(|key| late.takes(key, 1)));
        // An answer that never continues does not keep the keys for ever.
        let mut late = Answer::parse(b"\x1b]11;rgb").late;
        assert!(!late.takes(q, 3));
        assert!(!late.takes(KeyCode::Char('b').into(), 4));
        let mut late = Answer::parse(b"\x1b]11;rgb").late;
        assert!(!late.takes(KeyCode::Char('b').into(), LATE_FOR_MS + 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let answer = Answer::parse(&bytes);
            prop_assert!(answer.typed.chars().all(|c| !c.is_control()));
        }

        #[test]
        fn an_answer_cut_anywhere_is_no_key(at in 1_usize..24) {
            let told = "\x1b]11;rgb:1d1d/1f1f/2121\x1b\\";
            let mut answer = Answer::parse(&told.as_bytes()[..at]);
            prop_assert_eq!(&answer.typed, "");
            for key in keys(&told[at..told.len() - 2]) {
                prop_assert!(answer.late.takes(key, 1), "{:?}", key);
            }
            prop_assert!(answer.late.takes(alt('\\'), 1));
            prop_assert!(!answer.late.takes(KeyCode::Char('2').into(), 1));
        }
    }
}
