//! The languages that comments of a room are written in.

use serde::{Deserialize, Serialize};

use super::BadRoomField;

/// A language that can be recognized, by its code in ISO 639-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Ar,
    De,
    En,
    Es,
    Fr,
    Hi,
    It,
    Ja,
    Ko,
    Nl,
    Pt,
    Ru,
    Sv,
    Tr,
    Vi,
    Zh,
}

impl Language {
    pub const ALL: [Self; 16] = [
        Self::Ar,
        Self::De,
        Self::En,
        Self::Es,
        Self::Fr,
        Self::Hi,
        Self::It,
        Self::Ja,
        Self::Ko,
        Self::Nl,
        Self::Pt,
        Self::Ru,
        Self::Sv,
        Self::Tr,
        Self::Vi,
        Self::Zh,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ar => "ar",
            Self::De => "de",
            Self::En => "en",
            Self::Es => "es",
            Self::Fr => "fr",
            Self::Hi => "hi",
            Self::It => "it",
            Self::Ja => "ja",
            Self::Ko => "ko",
            Self::Nl => "nl",
            Self::Pt => "pt",
            Self::Ru => "ru",
            Self::Sv => "sv",
            Self::Tr => "tr",
            Self::Vi => "vi",
            Self::Zh => "zh",
        }
    }
}

impl std::str::FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let code = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|language| language.as_str() == code).ok_or_else(|| {
            let codes = Self::ALL.map(Self::as_str).join(", ");
            format!("`{}` is not one of {codes}", text.trim())
        })
    }
}

/// The decision about a comment in another language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LanguageAction {
    /// A person reviews the comment. In a room with synchronous moderation it is hidden until then.
    #[default]
    Flag,
    /// Nobody sees the comment.
    Reject,
}

impl LanguageAction {
    pub const ALL: [Self; 2] = [Self::Flag, Self::Reject];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Reject => "reject",
        }
    }
}

/// The languages of a room, and what happens to comments that are certainly in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LanguagePolicy {
    /// At least one, in the order of their codes.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub allowed: Vec<Language>,
    #[serde(default)]
    pub action: LanguageAction,
}

impl LanguagePolicy {
    /// Checks that there is at least one language, in order and none twice.
    pub(super) fn check(&self) -> Result<(), BadRoomField> {
        if !self.allowed.is_empty() && self.allowed.is_sorted_by(|a, b| a < b) {
            return Ok(());
        }
        let problem = "must have at least one language in `allowed`, in the order of their codes, \
                       or be null to allow all";
        Err(BadRoomField { field: "languages", problem: problem.to_owned() })
    }

    /// Writes `de, en only, others are flagged`.
    pub fn text(&self) -> String {
        let done = match self.action {
            LanguageAction::Flag => "flagged",
            LanguageAction::Reject => "rejected",
        };
        let codes: Vec<_> = self.allowed.iter().map(|language| language.as_str()).collect();
        format!("{} only, others are {done}", codes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_named_by_their_codes() {
        for language in Language::ALL {
            assert_eq!(language.as_str().parse(), Ok(language));
            let json = serde_json::to_value(language).unwrap();
            assert_eq!(json, language.as_str());
        }
        assert_eq!(" EN ".parse(), Ok(Language::En));
        assert!("id".parse::<Language>().unwrap_err().contains("de, en, es"));
        assert!(Language::ALL.is_sorted());
    }

    #[test]
    fn a_policy_names_each_language_once() {
        let policy = |allowed: &[Language]| LanguagePolicy {
            allowed: allowed.to_vec(),
            action: LanguageAction::Flag,
        };
        assert_eq!(policy(&[Language::De, Language::En]).check(), Ok(()));
        for wrong in [&[][..], &[Language::En, Language::En], &[Language::En, Language::De]] {
            assert_eq!(policy(wrong).check().unwrap_err().field, "languages");
        }
        assert_eq!(policy(&[Language::En]).text(), "en only, others are flagged");
    }
}
