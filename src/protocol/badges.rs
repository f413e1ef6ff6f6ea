//! Badges on comments: what the author's token said when the comment was accepted.

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Identity, Role};

/// One badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Badge {
    Moderator,
    Broadcaster,
    Admin,
    Subscriber,
}

impl Badge {
    /// All badges, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Broadcaster, Self::Moderator, Self::Subscriber];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moderator => "moderator",
            Self::Broadcaster => "broadcaster",
            Self::Admin => "admin",
            Self::Subscriber => "subscriber",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Moderator => 1,
            Self::Broadcaster => 2,
            Self::Admin => 4,
            Self::Subscriber => 8,
        }
    }
}

/// The badges of a comment, at most one of a role and that of subscribers. Written as a list of
/// names in JSON, and as the sum of `1` moderator, `2` broadcaster, `4` admin and `8` subscriber in
/// MessagePack and in the stores. Badges of later versions are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Badges(u8);

impl Badges {
    /// Returns the badges of a user.
    pub fn of(identity: &Identity) -> Self {
        let role = match identity.role {
            Role::Viewer => None,
            Role::Moderator => Some(Badge::Moderator),
            Role::Broadcaster => Some(Badge::Broadcaster),
            Role::Admin => Some(Badge::Admin),
        };
        let subscriber = identity.standing.subscriber.then_some(Badge::Subscriber);
        role.into_iter().chain(subscriber).collect()
    }

    /// Returns the known badges of a sum.
    pub fn from_bits(bits: u8) -> Self {
        Badge::ALL.into_iter().filter(|badge| bits & badge.bit() != 0).collect()
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Badge> {
        Badge::ALL.into_iter().filter(move |badge| self.0 & badge.bit() != 0)
    }
}

impl FromIterator<Badge> for Badges {
    fn from_iter<T: IntoIterator<Item = Badge>>(badges: T) -> Self {
        Self(badges.into_iter().fold(0, |bits, badge| bits | badge.bit()))
    }
}

impl Serialize for Badges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.iter())
        } else {
            serializer.serialize_u8(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Badges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let bits = u64::deserialize(deserializer)?;
            let wrong = || D::Error::invalid_value(Unexpected::Unsigned(bits), &"0 to 255");
            return u8::try_from(bits).map(Self::from_bits).map_err(|_| wrong());
        }
        // Names of later versions are skipped.
        let names = Vec::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let known = |name: &str| Badge::ALL.into_iter().find(|badge| badge.as_str() == name);
        Ok(names.iter().filter_map(|name| known(name)).collect())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Badges {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Badges".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<Badge>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Standing, UserId};

    #[test]
    fn a_user_has_the_badges_of_its_token() {
        let identity = |role, subscriber| Identity {
            user_id: UserId(7),
            name: "ann".into(),
            role,
            everywhere: role,
            avatar: None,
            comments_per_minute: None,
            standing: Standing { subscriber, ..Standing::default() },
        };
        let names = |role, subscriber| {
            let badges = Badges::of(&identity(role, subscriber));
            badges.iter().map(Badge::as_str).collect::<Vec<_>>()
        };
        assert_eq!(names(Role::Viewer, false), [""; 0]);
        assert_eq!(names(Role::Viewer, true), ["subscriber"]);
        assert_eq!(names(Role::Moderator, true), ["moderator", "subscriber"]);
        assert_eq!(names(Role::Admin, false), ["admin"]);
    }

    #[test]
    fn badges_are_names_in_json_and_a_sum_elsewhere() {
        let badges = Badges::from_iter([Badge::Moderator, Badge::Subscriber]);
        let json = serde_json::to_string(&badges).unwrap();
        assert_eq!(json, r#"["moderator","subscriber"]"#);
        assert_eq!(serde_json::from_str::<Badges>(&json).unwrap(), badges);
        let later = r#"["moderator","founder"]"#;
        let known: Badges = serde_json::from_str(later).unwrap();
        assert_eq!(known.iter().collect::<Vec<_>>(), [Badge::Moderator]);
        let packed = rmp_serde::to_vec(&badges).unwrap();
        assert_eq!(packed, [9]);
        assert_eq!(rmp_serde::from_slice::<Badges>(&packed).unwrap(), badges);
    }
}
