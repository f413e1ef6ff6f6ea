//! Sample rates: the share of a stream's comments that is broadcast, and the choice of comments.

use serde::{Deserialize, Serialize};

use super::CommentId;

/// The share of comments that is broadcast, in parts per million, so that equal rates compare
/// equal. JSON carries it as a share from 0.0 to 1.0, MessagePack as the integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(u32);

/// A share that an operator fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedRate {
    pub rate: SampleRate,
    /// Milliseconds since the Unix epoch, when the throttle decides again; `None` if it does not by
    /// itself.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

impl FixedRate {
    pub fn is_in_force(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| until > now_ms)
    }
}

impl From<SampleRate> for FixedRate {
    /// Fixes a share without an end.
    fn from(rate: SampleRate) -> Self {
        Self { rate, until_ms: None }
    }
}

impl SampleRate {
    pub const ALL: Self = Self(1_000_000);
    pub const NONE: Self = Self(0);

    /// Converts a share from 0.0 to 1.0; returns `None` outside of that range.
    pub fn from_share(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then(|| Self((share * 1e6).round() as u32))
    }

    pub fn share(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Returns the product of two shares. It is zero only if one of them is.
    pub fn of(self, other: Self) -> Self {
        let product = u64::from(self.0) * u64::from(other.0);
        Self(((product / 1_000_000) as u32).max(u32::from(product > 0)))
    }

    /// Returns whether a comment is broadcast at this rate. The result depends only on the id, so
    /// every node makes the same choice, and every comment kept at one rate is kept at all higher
    /// rates.
    pub fn keeps(self, comment_id: CommentId) -> bool {
        self.is_all() || mix(comment_id) % 1_000_000 < u64::from(self.0)
    }

    /// Returns the text that viewers see when the rate changes.
    pub fn notice(self) -> String {
        match self.0 {
            1_000_000 => "Showing all comments.".to_owned(),
            0 => "Chat is paused. Read all comments in the history.".to_owned(),
            _ => format!(
                "Chat moving fast! Showing {} comments. Pause to read all.",
                self.in_words()
            ),
        }
    }

    /// Returns the share as "1 in 10", or as "75 % of the" where that would be off by more than a
    /// twentieth.
    fn in_words(self) -> String {
        let share = self.share();
        let one_in = (1.0 / share).round();
        if one_in >= 2.0 && (one_in * share - 1.0).abs() <= 0.05 {
            return format!("1 in {one_in}");
        }
        // Never 0 or 100, which have texts of their own.
        format!("{} % of the", (share * 100.0).round().clamp(1.0, 99.0))
    }
}

/// Hashes the time and origin of an id with the finalizer of MurmurHash3. Ids of one node differ in
/// few bits, and the sample must not be correlated with time.
fn mix(comment_id: CommentId) -> u64 {
    let (high, low) = comment_id.0.as_u64_pair();
    let mut hash = high ^ low.rotate_left(32);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

impl Serialize for SampleRate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.share())
        } else {
            serializer.serialize_u32(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for SampleRate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = if deserializer.is_human_readable() {
            f64::deserialize(deserializer)?
        } else {
            f64::from(u32::deserialize(deserializer)?) / 1e6
        };
        Self::from_share(share)
            .ok_or_else(|| serde::de::Error::custom(format!("{share} is not a share of 0 to 1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sample_is_as_large_as_its_rate_and_nested() {
        let half = SampleRate::from_share(0.5).unwrap();
        let tenth = SampleRate::from_share(0.1).unwrap();
        let ids: Vec<_> = (0..20_000)
            .map(|i| CommentId::from_unix_ticks(17_000_000_000_000_000 + i * 200, 7, [1; 6]))
            .collect();
        let kept = |rate: SampleRate| ids.iter().filter(|id| rate.keeps(**id)).count();
        assert!((9_600..10_400).contains(&kept(half)), "{}", kept(half));
        assert!((1_800..2_200).contains(&kept(tenth)), "{}", kept(tenth));
        assert!(ids.iter().all(|id| !tenth.keeps(*id) || half.keeps(*id)));
        assert_eq!(kept(SampleRate::ALL), ids.len());
        assert_eq!(kept(SampleRate::NONE), 0);
    }

    #[test]
    fn a_share_of_a_share() {
        let rate = |share| SampleRate::from_share(share).unwrap();
        assert_eq!(rate(0.5).of(rate(0.1)), rate(0.05));
        assert_eq!(rate(0.25).of(SampleRate::ALL), rate(0.25));
        assert_eq!(SampleRate::ALL.of(rate(0.25)), rate(0.25));
        assert_eq!(rate(0.5).of(SampleRate::NONE), SampleRate::NONE);
        assert!(rate(0.000_001).of(rate(0.01)) > SampleRate::NONE);
    }

    #[test]
    fn the_notice_reads_as_documented() {
        let shown = |share| {
            let notice = SampleRate::from_share(share).unwrap().notice();
            let text = notice.strip_prefix("Chat moving fast! Showing ").map(str::to_owned);
            text.and_then(|text| {
                text.strip_suffix(" comments. Pause to read all.").map(str::to_owned)
            })
        };
        for (share, text) in [
            (0.1, "1 in 10"),
            (0.5, "1 in 2"),
            (0.333, "1 in 3"),
            (0.05, "1 in 20"),
            (0.000_001, "1 in 1000000"),
            (0.75, "75 % of the"),
            (0.4, "40 % of the"),
            (0.999, "99 % of the"),
        ] {
            assert_eq!(shown(share).as_deref(), Some(text), "{share}");
        }
        assert_eq!(SampleRate::ALL.notice(), "Showing all comments.");
        assert!(SampleRate::NONE.notice().contains("history"));
    }

    proptest! {
        /// The share that a viewer is told is never off by more than a twentieth, or half a
        /// percent.
        #[test]
        fn the_notice_tells_the_share(ppm in 1_u32..1_000_000) {
            let notice = SampleRate(ppm).notice();
            let words: Vec<_> = notice.split("Showing ").nth(1).unwrap().split(' ').collect();
            let told = match words[..3] {
                ["1", "in", n] => 1.0 / n.parse::<f64>().unwrap(),
                [percent, "%", "of"] => percent.parse::<f64>().unwrap() / 100.0,
                _ => panic!("{notice}"),
            };
            let share = f64::from(ppm) / 1e6;
            prop_assert!((told - share).abs() <= (share / 19.0).max(0.01), "{} of {}", notice, share);
            prop_assert!(told < 1.0);
        }
    }
}
