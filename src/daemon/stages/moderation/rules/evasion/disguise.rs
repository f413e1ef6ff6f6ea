//! Ways in which people hide words from filters and not from readers. They take lower case.

/// A name, and the function that disguises a text.
pub(super) type Disguise = (&'static str, fn(&str) -> String);

pub(super) const DISGUISES: [Disguise; 12] = [
    ("capitals", |term| each(term, |at, c| if at % 2 == 0 { upper(c) } else { c.into() })),
    ("digits", |term| each(term, |_, c| replaced(c, "aeiost", "431057"))),
    ("symbols", |term| each(term, |_, c| replaced(c, "asi", "@$!"))),
    ("spaces", |term| parted(term, " ")),
    ("dots", |term| parted(term, ".")),
    ("stretched", |term| each(term, stretched)),
    ("look-alikes", |term| each(term, |_, c| replaced(c, "aceopxyis", "асеорхуіѕ"))),
    ("full width", |term| each(term, |_, c| shifted(c, 0xFF41))),
    ("mathematical", |term| each(term, |_, c| shifted(c, 0x1D41A))),
    ("zero width", |term| each(term, |_, c| format!("{c}\u{200b}"))),
    ("zalgo", |term| each(term, |_, c| format!("{c}\u{336}\u{307}\u{35f}"))),
    ("stars", starred),
];

fn each(term: &str, disguise: impl Fn(usize, char) -> String) -> String {
    let letters = term.chars().enumerate();
    letters.map(|(at, c)| if c == ' ' { " ".to_owned() } else { disguise(at, c) }).collect()
}

fn stretched(at: usize, c: char) -> String {
    c.to_string().repeat(if c.is_alphabetic() { 1 + at % 3 } else { 1 })
}

fn upper(c: char) -> String {
    c.to_uppercase().collect()
}

fn replaced(c: char, plain: &str, disguised: &str) -> String {
    let at = plain.chars().position(|one| one == c);
    at.and_then(|at| disguised.chars().nth(at)).unwrap_or(c).to_string()
}

/// Writes a letter in the alphabet that begins at `a`.
fn shifted(c: char, a: u32) -> String {
    let letter = || char::from_u32(a + c as u32 - 'a' as u32);
    Some(c).filter(char::is_ascii_lowercase).and_then(|_| letter()).unwrap_or(c).to_string()
}

/// Parts the letters of each word; words are further apart.
fn parted(term: &str, mark: &str) -> String {
    let spelled = |word: &str| word.chars().map(String::from).collect::<Vec<_>>().join(mark);
    term.split(' ').map(spelled).collect::<Vec<_>>().join("  ")
}

/// Masks the first inner vowel of each word of four letters or more, or of a word by itself.
fn starred(term: &str) -> String {
    let is_vowel = |c: char| "aeiouy".contains(c);
    let words: Vec<&str> = term.split(' ').collect();
    let mask = |word: &&str| {
        let letters: Vec<char> = word.chars().collect();
        let vowel = (1..letters.len().saturating_sub(1)).find(|at| is_vowel(letters[*at]));
        let is_masked = |at| Some(at) == vowel && (letters.len() >= 4 || words.len() == 1);
        let masked = letters.iter().enumerate().map(|(at, c)| if is_masked(at) { '*' } else { *c });
        masked.collect::<String>()
    };
    words.iter().map(mask).collect::<Vec<_>>().join(" ")
}
