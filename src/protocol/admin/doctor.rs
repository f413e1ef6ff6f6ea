//! The findings of `lc doctor`: the value of a limit or a setting, and its effect on viewers.

use serde::{Deserialize, Serialize};

use super::alerts::Health;

/// The outcome of a check; a worse one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Well,
    /// The value could not be read.
    NotChecked,
    /// Viewers are served, and something is wrong.
    Degraded,
    /// Viewers are not served, or their comments are refused.
    Failing,
}

impl From<Health> for CheckResult {
    fn from(health: Health) -> Self {
        match health {
            Health::Well => Self::Well,
            Health::Degraded => Self::Degraded,
            Health::Failing => Self::Failing,
        }
    }
}

/// The result of one check. `GET /v1/doctor?node=` answers with those of the servers behind the
/// engines, judged by the figures of that node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DoctorFinding {
    /// The name of the check, such as `files` or `redis pubsub limit`.
    pub check: String,
    pub result: CheckResult,
    /// The value that was found; for a check that was not made, the values that are not known.
    pub what: String,
    /// Its effect, or the reason why the value is not known; empty if all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The command that mends it; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mend: String,
}

impl DoctorFinding {
    pub fn well(check: &str, what: String) -> Self {
        let none = String::new();
        Self {
            check: check.to_owned(),
            result: CheckResult::Well,
            what,
            why: none.clone(),
            mend: none,
        }
    }

    pub fn degraded(check: &str, what: String, why: String, mend: &str) -> Self {
        let result = CheckResult::Degraded;
        Self { check: check.to_owned(), result, what, why, mend: mend.to_owned() }
    }

    pub fn not_checked(check: &str, what: String, why: String) -> Self {
        let result = CheckResult::NotChecked;
        Self { check: check.to_owned(), result, what, why, mend: String::new() }
    }
}
