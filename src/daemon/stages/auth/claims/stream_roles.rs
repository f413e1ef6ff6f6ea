//! The roles of a user on single streams.

use serde_json::Value;

use crate::protocol::{Role, StreamId};

/// The roles that a token names beside the one on all streams. Bounded by the length of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamRoles(Vec<(StreamId, Role)>);

impl StreamRoles {
    /// Reads an object from stream ids to roles.
    ///
    /// # Errors
    /// The fault, to be read after the name of the claim.
    pub(super) fn read(claim: &Value) -> Result<Self, String> {
        let Some(fields) = claim.as_object() else {
            return Err("must be an object from stream ids to roles".to_owned());
        };
        let roles = fields.iter().map(|(stream, role)| {
            let stream_id = stream.parse::<StreamId>().map_err(|error| format!("has {error}"))?;
            let role = role.as_str().and_then(|text| text.parse::<Role>().ok());
            match role {
                Some(role) if role < Role::Admin => Ok((stream_id, role)),
                _ => Err(format!(
                    "of stream {stream_id} must be viewer, moderator or broadcaster: an admin is one \
                     on all streams"
                )),
            }
        });
        roles.collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// Returns the role on a stream, viewer if none is named.
    pub fn on(&self, stream_id: StreamId) -> Role {
        let named = self.0.iter().filter(|(named, _)| *named == stream_id);
        named.map(|(_, role)| *role).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_counts_on_its_stream_only() {
        let claim = json!({"7": "moderator", "8": "broadcaster", "9": "viewer"});
        let roles = StreamRoles::read(&claim).unwrap();
        let on = |stream| roles.on(StreamId(stream));
        assert_eq!(on(7), Role::Moderator);
        assert_eq!(on(8), Role::Broadcaster);
        assert_eq!((on(9), on(10)), (Role::Viewer, Role::Viewer));
        assert_eq!(StreamRoles::read(&json!({})).unwrap(), StreamRoles::default());
    }

    #[test]
    fn roles_that_cannot_be_read_are_refused() {
        for claim in [
            json!(["7"]),
            json!("7"),
            json!({"x": "moderator"}),
            json!({"0": "moderator"}),
            json!({"-7": "moderator"}),
            json!({"7": "admin"}),
            json!({"7": "king"}),
            json!({"7": 1}),
            json!({"7": null}),
        ] {
            assert!(StreamRoles::read(&claim).is_err(), "{claim}");
        }
    }
}
