//! Counts the users that say nearly the same text, for floods by many accounts.
//!
//! Texts are nearly the same if the first or the last three quarters of their letters are: copies
//! with something put in front or behind, other digits, emoji, spaces or marks, or letters in
//! disguise. A text has keys for its beginning and its end, at lengths of a ladder whose steps are
//! 15 % apart. Of two texts that differ by an ending of up to 15 %, the longer is at most one step
//! higher, so with the keys of two steps each they share one.
//!
//! Always holds: a text is recognized however its copies are changed, as long as at most 15 % of
//! its letters come to it at one end. Shorter texts than the first of [`LADDER`] have no keys: many
//! people say `good game` at once.
//!
//! When full: [`MAX_SIGHTINGS`] sightings of 24 bytes are kept, with their counts less than 24 MiB.
//! The oldest are forgotten, so that in the densest chat the window is shorter. A comment costs one
//! pass over its letters and four look-ups.

use std::collections::VecDeque;

use ahash::{AHashMap, AHashSet};

use super::fold::{Folded, Origin};
use crate::protocol::{StreamId, UserId};

/// The lengths at which beginnings and ends are compared. The first is the least of a text that is
/// compared. Each is at least 15 % above the one before.
const LADDER: [usize; 24] = [
    20, 23, 27, 32, 37, 43, 50, 58, 67, 78, 90, 104, 120, 138, 159, 183, 211, 243, 280, 322, 371,
    427, 492, 566,
];
/// Steps of the ladder at which a text has keys.
const STEPS: usize = 2;
/// Sightings that are kept.
const MAX_SIGHTINGS: usize = 1 << 18;
/// Makes hashes of the beginning, the end, and pairs differ.
const SEEDS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9];

/// The keys of a text: at most two for its beginning and two for its end.
pub(super) type NearKeys = Vec<u64>;

/// Returns the keys of a text in a stream; none if it has fewer letters than the first of
/// [`LADDER`].
pub(super) fn near_keys(folded: &Folded, stream_id: StreamId) -> NearKeys {
    let mut letters: Vec<char> = Vec::with_capacity(folded.elements.len());
    for element in &folded.elements {
        // Digits and stretched letters vary between copies.
        if element.origin == Origin::Letter && letters.last() != Some(&element.letter) {
            letters.push(element.letter);
        }
    }
    let steps: Vec<usize> =
        LADDER.iter().copied().filter(|length| *length <= letters.len()).collect();
    let lowest = steps.len().saturating_sub(STEPS);
    let mut keys = NearKeys::with_capacity(2 * STEPS);
    for length in &steps[lowest..] {
        let head = letters[..*length].iter();
        let tail = letters[letters.len() - length..].iter();
        keys.push(key_of(head, SEEDS[0] ^ stream_id.0));
        keys.push(key_of(tail, SEEDS[1] ^ stream_id.0));
    }
    keys
}

fn key_of<'a>(letters: impl Iterator<Item = &'a char>, seed: u64) -> u64 {
    letters.fold(mixed(seed), |hash, letter| {
        (hash ^ u64::from(u32::from(*letter))).wrapping_mul(SEEDS[0]).rotate_left(23)
    })
}

/// Spreads the bits of a number (the finalizer of MurmurHash3).
fn mixed(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ bits >> 33
}

/// The users of the window, by the keys of their texts.
#[derive(Debug, Default)]
pub(super) struct NearTexts {
    /// In the order in which they were added.
    sightings: VecDeque<Sighting>,
    /// Users by key.
    users: AHashMap<u64, u32>,
    /// The pairs of key and user that count.
    pairs: AHashSet<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Sighting {
    key: u64,
    pair: u64,
    /// Milliseconds, in the time of the comments.
    at: u64,
}

impl NearTexts {
    /// Adds a text of a user, and returns the number of users with nearly the same text, this one
    /// included. A user counts once per window.
    pub(super) fn add(&mut self, keys: &[u64], user: UserId, at: u64, window_ms: u64) -> usize {
        self.forget(at, window_ms);
        for key in keys {
            let pair = pair_of(*key, user);
            if !self.pairs.insert(pair) {
                continue;
            }
            if self.sightings.len() == MAX_SIGHTINGS {
                self.forget_oldest();
            }
            self.sightings.push_back(Sighting { key: *key, pair, at });
            *self.users.entry(*key).or_default() += 1;
        }
        self.highest(keys)
    }

    /// Returns what [`Self::add`] would return, and changes nothing. Looks through all sightings
    /// that have run out since the last comment.
    pub(super) fn count_with(&self, keys: &[u64], user: UserId, at: u64, window_ms: u64) -> usize {
        let has_run_out = |one: &&Sighting| at.saturating_sub(one.at) >= window_ms;
        let count = |key: &u64| {
            let pair = pair_of(*key, user);
            let gone = || {
                let run_out = self.sightings.iter().take_while(has_run_out);
                run_out.filter(|one| one.key == *key)
            };
            let is_counted = self.pairs.contains(&pair) && gone().all(|one| one.pair != pair);
            let users = self.users.get(key).map_or(0, |users| *users as usize);
            users - gone().count() + usize::from(!is_counted)
        };
        keys.iter().map(count).max().unwrap_or_default()
    }

    fn highest(&self, keys: &[u64]) -> usize {
        let users = keys.iter().filter_map(|key| self.users.get(key));
        users.max().map_or(0, |users| *users as usize)
    }

    fn forget(&mut self, now: u64, window_ms: u64) {
        while self.sightings.front().is_some_and(|one| now.saturating_sub(one.at) >= window_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.sightings.pop_front() else { return };
        self.pairs.remove(&oldest.pair);
        if let Some(users) = self.users.get_mut(&oldest.key) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&oldest.key);
            }
        }
    }
}

fn pair_of(key: u64, user: UserId) -> u64 {
    mixed(key ^ mixed(user.0 ^ SEEDS[2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::moderation::rules::fold::Symbols;
    use proptest::prelude::*;

    const WINDOW_MS: u64 = 30_000;
    const PASTA: &str = "I am a huge fan of this streamer and I will never leave this chat again";

    fn keys(text: &str) -> NearKeys {
        near_keys(&Folded::new(text, Symbols::AsLetters), StreamId(1))
    }

    fn are_near(one: &str, other: &str) -> bool {
        let others = keys(other);
        keys(one).iter().any(|key| others.contains(key))
    }

    #[test]
    fn copies_with_small_changes_are_near() {
        for copy in [
            "I am a huge fan of this streamer and I will never leave this chat again!!! 4821",
            "@bob I am a huge fan of this streamer and I will never leave this chat again",
            "I am a huge fan of this streamer and I will never leave this chat again xD lol",
            "I AM A HUGE FAN of this streamer, and I will never leave this chat again 🎉🎉",
            "I аm a hugе fan of this streamer and I will neverrrr leave this chat again kjh",
        ] {
            assert!(are_near(PASTA, copy), "{copy}");
        }
        for other in [
            "I am a huge fan of another game and nobody here has ever played it with me",
            "this is a text of the same length about something else, which nobody copies",
            "",
        ] {
            assert!(!are_near(PASTA, other), "{other}");
        }
        assert!(keys("good game everybody").is_empty(), "short texts are compared as they are");
    }

    #[test]
    fn users_count_once_and_for_one_window() {
        let mut near = NearTexts::default();
        let pasta = keys(PASTA);
        assert_eq!(near.add(&pasta, UserId(1), 0, WINDOW_MS), 1);
        assert_eq!(near.add(&pasta, UserId(1), 5, WINDOW_MS), 1);
        assert_eq!(near.count_with(&pasta, UserId(2), 6, WINDOW_MS), 2);
        assert_eq!(near.count_with(&pasta, UserId(1), 6, WINDOW_MS), 1);
        assert_eq!(near.count_with(&pasta, UserId(2), WINDOW_MS, WINDOW_MS), 1, "it has run out");
        assert_eq!(near.add(&pasta, UserId(2), 10_000, WINDOW_MS), 2);
        assert_eq!(near.add(&pasta, UserId(3), 31_000, WINDOW_MS), 2, "the first is forgotten");
        let elsewhere = near_keys(&Folded::new(PASTA, Symbols::AsLetters), StreamId(2));
        assert_eq!(near.add(&elsewhere, UserId(4), 31_000, WINDOW_MS), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut near = NearTexts::default();
        for number in 0..MAX_SIGHTINGS as u64 + 1000 {
            near.add(&[number], UserId(number), 0, WINDOW_MS);
        }
        assert_eq!(near.sightings.len(), MAX_SIGHTINGS);
        assert_eq!((near.users.len(), near.pairs.len()), (MAX_SIGHTINGS, MAX_SIGHTINGS));
        near.add(&[1], UserId(1), WINDOW_MS, WINDOW_MS);
        assert_eq!((near.sightings.len(), near.users.len(), near.pairs.len()), (1, 1, 1));
    }

    #[test]
    fn the_ladder_has_steps_of_at_least_15_percent() {
        for pair in LADDER.windows(2) {
            assert!(pair[1] * 100 >= pair[0] * 115, "{pair:?}");
            assert!(pair[1] * 100 <= pair[0] * 120, "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn an_appended_variation_never_hides_a_copy(
            text in "[a-d ]{60,200}", noise in "[e-z]{0,30}", in_front in any::<bool>(),
        ) {
            let letters = |text: &str| {
                let mut all: Vec<char> = text.chars().filter(char::is_ascii_alphabetic).collect();
                all.dedup();
                all.len()
            };
            prop_assume!(letters(&text) >= LADDER[0]);
            let noise: String = noise.chars().take(letters(&text) * 15 / 100).collect();
            let copy = if in_front { format!("{noise} {text}") } else { format!("{text} {noise}") };
            prop_assert!(are_near(&text, &copy), "{}", copy);
        }
    }
}
