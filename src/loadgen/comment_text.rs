//! Generated comment texts for runs without a recording. They are short, harmless and all
//! different, because moderation rejects repeats and floods.

use std::sync::Arc;

const WORDS: [&str; 64] = [
    "amber", "anchor", "apple", "arrow", "autumn", "bamboo", "basket", "beacon", "blossom",
    "breeze", "bridge", "candle", "canyon", "castle", "cedar", "cloud", "clover", "comet",
    "copper", "coral", "crystal", "dawn", "delta", "desert", "dolphin", "echo", "ember", "falcon",
    "feather", "fern", "forest", "garden", "glacier", "granite", "harbor", "hazel", "island",
    "ivory", "jasmine", "lagoon", "lantern", "lemon", "maple", "marble", "meadow", "mirror",
    "morning", "mountain", "ocean", "olive", "orchid", "pebble", "pepper", "prairie", "quartz",
    "rainbow", "river", "saffron", "shadow", "silver", "summer", "thunder", "valley", "willow",
];

/// Returns the text of comment `number` of a run: three words chosen by the number, and the number.
pub(crate) fn numbered_text(number: u64) -> Arc<str> {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let word = |shift: u32| WORDS[(mixed >> shift) as usize % WORDS.len()];
    format!("{} {} {} {number}", word(58), word(46), word(34)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn texts_differ_and_use_many_words() {
        let texts: HashSet<_> = (0..10_000).map(numbered_text).collect();
        assert_eq!(texts.len(), 10_000);
        let first: HashSet<_> =
            texts.iter().filter_map(|text| text.split(' ').next().map(str::to_owned)).collect();
        assert!(first.len() > 50, "{}", first.len());
    }
}
