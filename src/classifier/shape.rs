//! Features of what a text looks like: its length, its capitals, its links and how they are
//! hidden, its ornamental letters. Spam has a shape where its words are new.

use unicode_normalization::char::is_combining_mark;

use super::feature_hash::{FeatureHash, FeatureKind};

/// Endings after which a word with a dot is taken for a domain.
const ENDINGS: &str = "\
    com net org info biz edu gov io co tv me gg ru ua by kz su xyz top site online shop store club \
    live pro link click bet win vip app cc tk ml ga cf gq buzz fun icu work space website ly be to \
    in id uk de fr es it nl pl br us ca eu au cn jp kr tr ir vn th my ph ng za asia world today \
    stream video chat party bar bid loan men date racing review trade webcam science download host \
    press tech dev ai page blog news media games game casino poker cash money social fans";

/// Signs of money in front of or behind a number.
const CURRENCIES: &[char] = &['$', '€', '£', '₽', '¥', '₹', '₴', '₿'];

/// Counts of a text, from one pass over its characters.
#[derive(Debug, Default)]
struct Counts {
    chars: usize,
    letters: usize,
    upper: usize,
    digits: usize,
    marks: usize,
    emoji: usize,
    ornamental: usize,
    combining: usize,
    invisible: usize,
    words: usize,
    longest_word: usize,
    mixed_words: usize,
    digit_words: usize,
}

/// Calls `emit` with the hash of each feature. A feature may come twice.
pub(super) fn describe(text: &str, mut emit: impl FnMut(FeatureHash)) {
    let mut name = |name: &str, value: &[u8]| {
        emit(FeatureHash::new(FeatureKind::Shape).add(name.as_bytes()).add(b"=").add(value));
    };
    let counts = count(text);
    let share = |part: usize, whole: usize| (part * 10).div_ceil(whole.max(1)).min(10) as u8;
    for (label, value) in [
        ("length", bin(counts.chars)),
        ("upper", share(counts.upper, counts.letters)),
        ("digits", share(counts.digits, counts.chars)),
        ("marks", share(counts.marks, counts.chars)),
        ("words", bin(counts.words)),
        ("longest", bin(counts.longest_word)),
    ] {
        name(label, &[value]);
    }
    for (label, count) in [
        ("emoji", counts.emoji),
        ("ornamental", counts.ornamental),
        ("combining", counts.combining),
        ("invisible", counts.invisible),
        ("mixed", counts.mixed_words),
        ("letters+digits", counts.digit_words),
    ] {
        if count > 0 {
            name(label, b"any");
            name(label, &[bin(count)]);
        }
    }
    if text.contains("!!") {
        name("!!", b"");
    }
    describe_words(text, &mut name);
}

/// Returns the number of binary digits: 0, 1, 2–3, 4–7, 8–15, …
fn bin(count: usize) -> u8 {
    (usize::BITS - count.leading_zeros()) as u8
}

fn count(text: &str) -> Counts {
    let mut counts = Counts::default();
    for c in text.chars() {
        counts.chars += 1;
        counts.letters += usize::from(c.is_alphabetic());
        counts.upper += usize::from(c.is_uppercase());
        counts.digits += usize::from(c.is_numeric());
        counts.marks += usize::from(c.is_ascii_punctuation());
        counts.emoji += usize::from(is_emoji(c));
        counts.ornamental += usize::from(is_ornamental(c));
        counts.combining += usize::from(!c.is_ascii() && is_combining_mark(c));
        counts.invisible += usize::from(is_invisible(c));
    }
    for word in text.split_whitespace() {
        let has = |test: fn(char) -> bool| word.chars().any(test);
        counts.words += 1;
        counts.longest_word = counts.longest_word.max(word.chars().count());
        let has_latin = has(|c| c.is_ascii_alphabetic());
        let mixes = has_latin && has(|c| ('\u{370}'..'\u{530}').contains(&c));
        counts.mixed_words += usize::from(mixes);
        counts.digit_words += usize::from(has(char::is_alphabetic) && has(char::is_numeric));
    }
    counts
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{1F300}'..='\u{1FAFF}' | '\u{2600}'..='\u{27BF}' | '\u{1F1E6}'..='\u{1F1FF}')
}

/// Full-width, mathematical, enclosed and small letters.
fn is_ornamental(c: char) -> bool {
    matches!(c, '\u{1D400}'..='\u{1D7FF}' | '\u{FF01}'..='\u{FF5E}' | '\u{2460}'..='\u{24FF}'
        | '\u{1F100}'..='\u{1F1E5}' | '\u{1D00}'..='\u{1D7F}' | '\u{2100}'..='\u{214F}'
        | '\u{2070}'..='\u{209F}')
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{34F}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

fn describe_words(text: &str, name: &mut impl FnMut(&str, &[u8])) {
    let mut before = "";
    let mut dot_before = false;
    for word in text.split_whitespace() {
        let trimmed = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
        if let Some(rest) = address(word) {
            describe_address(rest, name);
        } else if let Some(host) = domain(trimmed) {
            name("domain", b"bare");
            describe_host(host, name);
        }
        let hidden = dot_before || before.ends_with('.') || word.starts_with('.');
        if hidden && !before.is_empty() && is_ending(trimmed) {
            name("domain", if dot_before { b"spoken" } else { b"apart" });
            name("ending", lower(trimmed).as_slice());
        }
        describe_word(word, trimmed, name);
        if is_dot(word) {
            dot_before = true;
        } else {
            dot_before = false;
            before = word;
        }
    }
}

/// Words that stand for a dot in a hidden domain.
fn is_dot(word: &str) -> bool {
    let bare = word.trim_matches(['(', ')', '[', ']', '{', '}', '<', '>', '*']);
    bare == "." || bare == "," || bare.eq_ignore_ascii_case("dot")
}

/// Returns what follows the scheme of an address.
fn address(word: &str) -> Option<&str> {
    let rest = ["https://", "http://", "hxxp://"].iter().find_map(|scheme| {
        let at = word.find(scheme)?;
        Some(&word[at + scheme.len()..])
    });
    rest.or_else(|| word.starts_with("www.").then_some(word))
}

fn describe_address(rest: &str, name: &mut impl FnMut(&str, &[u8])) {
    name("address", b"any");
    let end = rest.find(['/', '?', '#', ':']).unwrap_or(rest.len());
    describe_host(&rest[..end], name);
    if rest.len() > end + 1 {
        name("address", b"path");
    }
    if rest.contains('?') {
        name("address", b"query");
    }
}

/// Returns the host of a word such as `name.com/path`, `name(.)com` or `name[dot]com`.
fn domain(word: &str) -> Option<&str> {
    let end = word.find(['/', '?', ':']).unwrap_or(word.len());
    let host = &word[..end];
    let dot = host.rfind(['.', ')', ']'])?;
    (dot > 0 && is_ending(&host[dot + 1..])).then_some(host)
}

fn is_ending(text: &str) -> bool {
    let mut endings = ENDINGS.split(' ');
    (2..=8).contains(&text.len()) && endings.any(|ending| ending.eq_ignore_ascii_case(text))
}

fn describe_host(host: &str, name: &mut impl FnMut(&str, &[u8])) {
    if host.contains(['(', '[', '*']) {
        name("domain", b"hidden");
    }
    let host = lower(host);
    name("host", host.as_slice());
    let dot = host.as_slice().iter().rposition(|byte| *byte == b'.');
    if let Some(dot) = dot {
        name("ending", &host.as_slice()[dot + 1..]);
    }
}

/// The first bytes of a short word, in lower case.
struct Lower {
    bytes: [u8; 64],
    length: usize,
}

impl Lower {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn lower(word: &str) -> Lower {
    let mut lower = Lower { bytes: [0; 64], length: word.len().min(64) };
    for (to, from) in lower.bytes.iter_mut().zip(word.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    lower
}

fn describe_word(word: &str, trimmed: &str, name: &mut impl FnMut(&str, &[u8])) {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if digits > 0 && (word.contains(CURRENCIES) || word.contains('%')) {
        name("money", b"");
    }
    if digits >= 7 && word.bytes().all(|byte| byte.is_ascii_digit() || b"+-().".contains(&byte)) {
        name("phone", b"");
    }
    if let Some((user, host)) = trimmed.split_once('@')
        && !user.is_empty()
        && domain(host).is_some()
    {
        name("mail", b"");
    }
    if word.starts_with('@') && word.len() > 1 {
        name("mention", b"");
    }
    if word.starts_with('#') && word.len() > 1 {
        name("tag", b"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, name: &str, value: &[u8]) -> bool {
        let sought = FeatureHash::new(FeatureKind::Shape);
        let sought = sought.add(name.as_bytes()).add(b"=").add(value).place(32);
        let mut found = false;
        describe(text, |hash| found |= hash.place(32) == sought);
        found
    }

    #[test]
    fn domains_are_seen_through_their_disguise() {
        assert!(has("look at Name.COM/path!", "host", b"name.com"));
        assert!(has("best viewers on name .ru @x", "ending", b"ru"));
        assert!(has("name . ru", "domain", b"spoken"));
        assert!(has("name (dot) com", "domain", b"spoken"));
        assert!(has("name(.)com", "domain", b"hidden"));
        assert!(has("https://a.example/b?c", "host", b"a.example"));
        assert!(has("https://a.example/b?c", "address", b"query"));
        assert!(!has("https://a.example", "address", b"path"));
        for text in ["that was close. come on", "e.g. this", "ok...lol", "3.5 points"] {
            assert!(!has(text, "domain", b"bare"), "{text}");
        }
    }

    #[test]
    fn counts_are_features() {
        assert!(has("WIN $500 NOW!!", "money", b""));
        assert!(has("WIN $500 NOW!!", "!!", b""));
        assert!(has("call +1(555)010-0200", "phone", b""));
        assert!(has("mail me at ann@name.com", "mail", b""));
        assert!(has("𝐆𝑨𝑪𝑯𝑨", "ornamental", b"any"));
        assert!(has("sl\u{200B}ot", "invisible", b"any"));
        assert!(has("сasino", "mixed", b"any"));
        assert!(!has("gg", "emoji", b"any"));
    }
}
