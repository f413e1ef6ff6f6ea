//! The effect that a shadow ban of users would have.

use std::collections::BTreeSet;

use super::users::{NamedUsers, open_text, role_text, users_text};
use crate::protocol::StreamId;
use crate::protocol::admin::{Preview, Shadow, Who};
use crate::protocol::quantity::{show_counted, show_duration};

/// A shadow ban.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ShadowAct {
    /// Without a stream, on all.
    pub(super) stream_id: Option<StreamId>,
    pub(super) duration_ms: Option<u64>,
}

impl ShadowAct {
    /// Tells who sees what. Unlike a ban of several users, moderators among them are meant too:
    /// each is shadow-banned by a request of its own.
    pub(super) fn preview(self, named: NamedUsers) -> Preview {
        let NamedUsers { found, unknown } = named;
        let hit: Vec<&Who> = found.iter().collect();
        let connections: Vec<_> = found.iter().flat_map(|who| &who.connections).collect();
        let nodes: BTreeSet<_> = connections.iter().map(|connection| &connection.node).collect();
        let nodes: Vec<_> = nodes.into_iter().cloned().collect();
        let moderators = found.iter().filter(|who| who.role().is_staff()).count();
        let replaced: Vec<_> = found.iter().filter_map(|who| self.replaced(who)).collect();
        let mut text = if hit.is_empty() {
            "Shadow-ban nobody.".to_owned()
        } else {
            self.sentence(&hit, &open_text(&connections))
        };
        match (moderators, &hit[..]) {
            (0, _) => {}
            (_, [one]) => text.push_str(&format!(" The user is {}.", role_text(one.role()))),
            (some, _) => {
                let some = show_counted(some as u64, "moderator");
                text.push_str(&format!(" {some} among them."));
            }
        }
        match &replaced[..] {
            [] => {}
            [one] if hit.len() == 1 => text.push_str(&format!(" It replaces {}.", one.text())),
            some => {
                let users = show_counted(some.len() as u64, "user");
                text.push_str(&format!(" It replaces that of {users}."));
            }
        }
        if !unknown.is_empty() {
            text.push_str(&format!(" Not found: {}.", unknown.join("; ")));
        }
        Preview {
            effect: text,
            users: hit.len() as u64,
            already: replaced.len() as u64,
            moderators: moderators as u64,
            connections: connections.len() as u64,
            nodes,
            unknown,
            ..Preview::default()
        }
    }

    fn sentence(self, hit: &[&Who], open: &str) -> String {
        let users = users_text(hit, hit.len());
        let place = match self.stream_id {
            Some(stream_id) => format!("stream {stream_id}"),
            None => "all streams".to_owned(),
        };
        let time = self.duration_ms.map(|ms| format!(" for {}", show_duration(ms)));
        let time = time.unwrap_or_default();
        let whom = if hit.len() == 1 { "the user only" } else { "their senders only" };
        let over = if self.duration_ms.is_some() { "it ends" } else { "it is lifted" };
        format!(
            "Shadow-ban {users} on {place}{time}: {open}, which nothing is told. New comments are \
             shown to {whom} until {over}; earlier ones stay visible."
        )
    }

    /// Returns the shadow ban on the same streams that is in force.
    fn replaced(self, who: &Who) -> Option<&Shadow> {
        who.shadows.iter().find(|shadow| shadow.stream_id == self.stream_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::connection;
    use crate::protocol::{NodeId, UserId};

    fn zed(nodes: &[&str], shadows: Vec<Shadow>) -> NamedUsers {
        let who = Who {
            user_id: UserId(42),
            name: Some("zed".to_owned()),
            connections: nodes.iter().map(|node| connection(&NodeId::new(node), 1, 0)).collect(),
            sanctions: Vec::new(),
            shadows,
            unreachable: Vec::new(),
        };
        NamedUsers { found: vec![who], unknown: Vec::new() }
    }

    fn everywhere() -> Shadow {
        Shadow {
            user_id: UserId(42),
            stream_id: None,
            name: None,
            created_by: "ann".to_owned(),
            created_at: 0,
            expires_at: None,
        }
    }

    #[test]
    fn a_shadow_ban_tells_who_sees_what() {
        let act = ShadowAct { stream_id: Some(StreamId(7)), duration_ms: Some(600_000) };
        let preview = act.preview(zed(&["a"], vec![everywhere()]));
        assert_eq!(
            preview.effect,
            "Shadow-ban zed (user 42) on stream 7 for 10m: 1 connection on a, which nothing is \
             told. New comments are shown to the user only until it ends; earlier ones stay \
             visible."
        );
        assert_eq!((preview.users, preview.already, preview.connections), (1, 0, 1));
        let again = ShadowAct::default().preview(zed(&[], vec![everywhere()]));
        assert!(
            again.effect.ends_with("It replaces the shadow on all streams without an end."),
            "{again:?}"
        );
        assert_eq!(again.already, 1);
    }

    #[test]
    fn users_that_are_not_found_are_named() {
        let unknown = vec!["no user x".to_owned()];
        let nobody = NamedUsers { unknown, ..NamedUsers::default() };
        let preview = ShadowAct::default().preview(nobody);
        assert_eq!(preview.effect, "Shadow-ban nobody. Not found: no user x.");
    }
}
