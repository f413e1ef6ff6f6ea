//! The checks of the comments of a room: how long a comment may wait for its check, and its end if
//! moderation does not answer.

use serde::{Deserialize, Serialize};

use super::{BadRoomField, given};
use crate::protocol::quantity::show_duration;

/// The time for a check before publication in a room that sets none.
pub const DEFAULT_DEADLINE_MS: u64 = 500;
/// The shortest and the longest time for a check before publication.
pub const SHORTEST_DEADLINE_MS: u64 = 50;
pub const LONGEST_DEADLINE_MS: u64 = 10_000;

/// The reason of a comment in the review queue that no stage has checked. Moderation decides about
/// it as soon as it can.
pub const UNCHECKED: &str = "unchecked";

/// The end of a comment that is not checked in time, on a stream in synchronous mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenLate {
    /// It is published, and checked afterwards as on a stream in asynchronous mode.
    Pass,
    /// It waits in the review queue until it is checked.
    #[default]
    Hold,
    /// It is refused, and its sender may send it again.
    Refuse,
}

/// The end of a comment while moderation is down: of each on a stream in asynchronous mode, and of
/// one that would pass because its check was late in synchronous mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// It is published, and checked when moderation returns.
    #[default]
    Pass,
    /// It waits in the review queue until moderation returns and has checked it.
    Hold,
}

impl WhenLate {
    pub const ALL: [Self; 3] = [Self::Pass, Self::Hold, Self::Refuse];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        }
    }
}

impl WhenDown {
    pub const ALL: [Self; 2] = [Self::Pass, Self::Hold];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Hold => "hold",
        }
    }
}

/// The settings of a room's checks. Viewers are not told them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RoomChecks {
    /// In synchronous mode, a check may take this long, in milliseconds. Absent:
    /// [`DEFAULT_DEADLINE_MS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// In synchronous mode, the end of a comment whose check takes longer.
    pub late: WhenLate,
    /// The end of a comment while moderation is down. In synchronous mode, only that of a comment
    /// that is late and would pass.
    pub down: WhenDown,
}

impl RoomChecks {
    /// Returns whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how long a check may take, in milliseconds.
    pub fn deadline_in_force_ms(&self) -> u64 {
        self.deadline_ms.unwrap_or(DEFAULT_DEADLINE_MS)
    }

    pub(super) fn apply(&mut self, patch: ChecksPatch) {
        let ChecksPatch { deadline_ms, late, down } = patch;
        self.deadline_ms = deadline_ms.unwrap_or(self.deadline_ms);
        self.late = late.unwrap_or(self.late);
        self.down = down.unwrap_or(self.down);
    }
}

/// A change of the checks of a room. Absent fields stay unchanged; null gives the deadline its
/// default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1)))]
#[serde(default, deny_unknown_fields)]
pub struct ChecksPatch {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(range(min = SHORTEST_DEADLINE_MS, max = LONGEST_DEADLINE_MS))
    )]
    pub deadline_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<WhenLate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<WhenDown>,
}

impl ChecksPatch {
    /// Checks the range of the deadline, and that there is something to change.
    ///
    /// # Errors
    /// The field that is wrong.
    pub(super) fn check(&self) -> Result<(), BadRoomField> {
        if *self == Self::default() {
            let problem = "must name at least one of deadline_ms, late, down".to_owned();
            return Err(BadRoomField { field: "checks", problem });
        }
        let is_in_range = |ms: u64| (SHORTEST_DEADLINE_MS..=LONGEST_DEADLINE_MS).contains(&ms);
        if self.deadline_ms.flatten().is_none_or(is_in_range) {
            return Ok(());
        }
        let problem = format!(
            "must be {SHORTEST_DEADLINE_MS} to {LONGEST_DEADLINE_MS} (milliseconds), or null for \
             {DEFAULT_DEADLINE_MS}"
        );
        Err(BadRoomField { field: "checks.deadline_ms", problem })
    }

    pub(super) fn back_to(&self, before: &RoomChecks) -> Self {
        Self {
            deadline_ms: self.deadline_ms.map(|_| before.deadline_ms),
            late: self.late.map(|_| before.late),
            down: self.down.map(|_| before.down),
        }
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let Self { deadline_ms, late, down } = self;
        (deadline_ms.is_some() && other.deadline_ms.is_some())
            || (late.is_some() && other.late.is_some())
            || (down.is_some() && other.down.is_some())
    }

    /// Says what the patch changes, as clauses such as `a check may take 500ms`.
    pub(super) fn texts(&self) -> Vec<String> {
        let Self { deadline_ms, late, down } = self;
        let deadline = deadline_ms.map(|ms| {
            let ms = ms.unwrap_or(DEFAULT_DEADLINE_MS);
            format!("a check may take {}", show_duration(ms))
        });
        let late = late.map(|late| {
            let end = match late {
                WhenLate::Pass => "shown, and checked later",
                WhenLate::Hold => "held",
                WhenLate::Refuse => "refused",
            };
            format!("comments that are not checked in time are {end}")
        });
        let down = down.map(|down| {
            let end = match down {
                WhenDown::Pass => "shown",
                WhenDown::Hold => "held",
            };
            format!("comments are {end} while moderation is down")
        });
        [deadline, late, down].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::room::{RoomPatch, RoomSettings};

    fn patch(text: &str) -> RoomPatch {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_patch_of_checks_changes_what_it_names() {
        let mut settings = RoomSettings::default();
        let both = r#"{"checks":{"deadline_ms":900,"late":"refuse"}}"#;
        settings.apply(patch(both));
        settings.apply(patch(r#"{"checks":{"down":"hold"}}"#));
        let expected =
            RoomChecks { deadline_ms: Some(900), late: WhenLate::Refuse, down: WhenDown::Hold };
        assert_eq!(settings.checks, expected);
        let stored = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<RoomSettings>(&stored).unwrap(), settings);
        let back = patch(both).back_to(&RoomSettings::default());
        settings.apply(back);
        assert_eq!(settings.checks, RoomChecks { down: WhenDown::Hold, ..RoomChecks::default() });
        assert_eq!(settings.checks.deadline_in_force_ms(), DEFAULT_DEADLINE_MS);
    }

    #[test]
    fn a_bad_patch_of_checks_names_its_field() {
        for (text, field) in [
            (r#"{"checks":{}}"#, "checks"),
            (r#"{"checks":{"deadline_ms":49}}"#, "checks.deadline_ms"),
            (r#"{"checks":{"deadline_ms":10001}}"#, "checks.deadline_ms"),
        ] {
            assert_eq!(patch(text).check().unwrap_err().field, field, "{text}");
        }
        for text in [r#"{"checks":{"deadline_ms":50}}"#, r#"{"checks":{"deadline_ms":null}}"#] {
            assert_eq!(patch(text).check(), Ok(()), "{text}");
        }
        assert!(serde_json::from_str::<RoomPatch>(r#"{"checks":{"late":"wait"}}"#).is_err());
    }

    #[test]
    fn patches_of_other_checks_do_not_overlap() {
        let late = patch(r#"{"checks":{"late":"pass"}}"#);
        let down = patch(r#"{"checks":{"down":"hold"}}"#);
        assert!(!late.overlaps(&down) && late.overlaps(&late));
        let texts = ["comments are held while moderation is down".to_owned()];
        assert_eq!(down.texts(), texts);
    }
}
