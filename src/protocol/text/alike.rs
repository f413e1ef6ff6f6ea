//! Texts that people read as the same one.

/// The offset basis and the prime of FNV-1a with 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Returns a number that is the same for texts that differ only in case, in spaces and
/// punctuation, and in how often a letter is repeated: `GOOOAL!!` and `goal` are alike. A text
/// without letters and digits, such as one of emoji, is compared by its symbols.
///
/// The number is the same on all nodes and in all versions. Two other texts have the same number
/// by chance about once in four thousand million pairs. Allocates nothing.
pub fn alike_key(text: &str) -> u32 {
    let hash = alike_hash(text);
    (hash ^ (hash >> 32)) as u32
}

/// Returns a number as [`alike_key`], with 64 bits, so that in millions of texts no two have the
/// same one by chance.
pub fn alike_hash(text: &str) -> u64 {
    let letters = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    hash_of(letters)
        .or_else(|| hash_of(text.chars().filter(|c| !c.is_whitespace())))
        .unwrap_or_default()
}

/// Returns `None` if there is no character.
fn hash_of(chars: impl Iterator<Item = char>) -> Option<u64> {
    let mut hash = BASIS;
    let mut last = None;
    for c in chars {
        if last != Some(c) {
            hash = (hash ^ u64::from(u32::from(c))).wrapping_mul(PRIME);
        }
        last = Some(c);
    }
    last.map(|_| hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spaces_marks_and_length_do_not_matter() {
        let key = alike_key("cheap followers at example.com");
        for same in ["Cheap  FOLLOWERS at example com", "cheaaap followers, at «example.com»!!"] {
            assert_eq!(alike_key(same), key, "{same}");
        }
        for other in ["cheap followers at example.org", "cheap", "", "🔥"] {
            assert_ne!(alike_key(other), key, "{other}");
        }
    }

    #[test]
    fn texts_of_symbols_are_compared_by_them() {
        assert_eq!(alike_key("🔥🔥🔥"), alike_key("🔥 🔥"));
        assert_ne!(alike_key("🔥"), alike_key("🎉"));
        assert_ne!(alike_key("?!"), alike_key("!?"));
        assert_eq!(alike_key("goal 🔥"), alike_key("goal"));
    }
}
