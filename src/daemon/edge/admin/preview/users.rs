//! What a ban, a timeout or a kick of users would do.

use std::collections::BTreeSet;

use crate::protocol::admin::{ConnectionInfo, Preview, Sanction, SanctionKind, Who};
use crate::protocol::quantity::{show_counted, show_duration};
use crate::protocol::{Role, StreamId, on_stream};

/// Users that are named; more are counted.
const MAX_NAMES: usize = 3;

/// An act on users.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UserAct {
    /// Without a kind of sanction, the users are kicked.
    pub(super) kind: Option<SanctionKind>,
    /// Where it holds; `None` stands for all streams.
    pub(super) stream_id: Option<StreamId>,
    pub(super) duration_ms: Option<u64>,
    /// The time until connections close; 0 if at once.
    pub(super) disconnect_after_ms: u64,
    pub(super) include_moderators: bool,
}

/// The users that were named.
#[derive(Debug, Default)]
pub(super) struct NamedUsers {
    pub(super) found: Vec<Who>,
    /// Those that cannot be found, with the reason.
    pub(super) unknown: Vec<String>,
}

impl NamedUsers {
    fn count(&self) -> usize {
        self.found.len() + self.unknown.len()
    }
}

impl UserAct {
    pub(super) fn preview(self, named: NamedUsers) -> Preview {
        let count = named.count();
        let NamedUsers { found, unknown } = named;
        let is_moderator = |who: &&Who| who.role_on(self.stream_id).is_staff();
        let moderators = found.iter().filter(is_moderator).count();
        // As a batch does it: a single user is meant, whoever it is.
        let leaves_out = count > 1 && !self.include_moderators;
        let is_hit = |who: &&Who| !(leaves_out && is_moderator(who));
        let hit: Vec<_> = found.iter().filter(is_hit).collect();
        let is_meant = |connection: &&ConnectionInfo| {
            self.stream_id.is_none_or(|only| only == connection.stream_id)
        };
        let connections: Vec<_> =
            hit.iter().flat_map(|who| &who.connections).filter(is_meant).collect();
        let nodes: BTreeSet<_> = connections.iter().map(|connection| &connection.node).collect();
        let nodes: Vec<_> = nodes.into_iter().cloned().collect();
        let replaced: Vec<_> = hit.iter().filter_map(|who| self.replaced(who)).collect();
        let mut text = if hit.is_empty() {
            format!("{} nobody.", self.verb())
        } else {
            let users = users_text(&hit, found.len());
            let open = open_text(&connections);
            let place = on_stream(self.stream_id);
            let lasting = self.lasting();
            format!("{} {users}{place}{lasting}: {open}. {}", self.verb(), self.end(&connections))
        };
        match (moderators, &hit[..]) {
            (0, _) => {}
            (_, [one]) if count == 1 => {
                text.push_str(&format!(" The user is {}.", role_text(one.role_on(self.stream_id))));
            }
            (some, _) => {
                let some = show_counted(some as u64, "moderator");
                let left_out = if leaves_out { ": left out" } else { "" };
                text.push_str(&format!(" {some} among them{left_out}."));
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
        if self.kind == Some(SanctionKind::Timeout) {
            let is_banned = |who: &&&Who| self.covering_ban(who).is_some();
            let banned = hit.iter().filter(is_banned).count();
            if banned > 0 {
                let users = show_counted(banned as u64, "user");
                text.push_str(&format!(" Left out: {users} banned; the ban stays."));
            }
        }
        let silent: BTreeSet<_> = hit.iter().flat_map(|who| &who.unreachable).collect();
        if !silent.is_empty() {
            let names: Vec<_> = silent.iter().map(|node| node.as_str()).collect();
            text.push_str(&format!(" Not counted, no answer: {}.", names.join(", ")));
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

    /// Returns the sanction of a user that the act replaces.
    fn replaced(self, who: &Who) -> Option<&Sanction> {
        let kind = self.kind?;
        who.sanctions.iter().find(|it| it.kind == kind && it.stream_id == self.stream_id)
    }

    /// Returns the ban of a user that holds wherever the act would.
    fn covering_ban(self, who: &Who) -> Option<&Sanction> {
        let covers = |it: &&Sanction| it.stream_id.is_none() || it.stream_id == self.stream_id;
        who.sanctions.iter().filter(|it| it.kind == SanctionKind::Ban).find(covers)
    }

    fn verb(self) -> &'static str {
        match self.kind {
            Some(SanctionKind::Ban) => "Ban",
            Some(SanctionKind::Timeout) => "Time out",
            None => "Kick",
        }
    }

    fn lasting(self) -> String {
        match (self.kind, self.duration_ms) {
            (Some(_), Some(ms)) => format!(" for {}", show_duration(ms)),
            (Some(SanctionKind::Ban), None) => " permanently".to_owned(),
            (Some(SanctionKind::Timeout) | None, _) => String::new(),
        }
    }

    /// Says what becomes of connections and comments, and until when.
    fn end(self, connections: &[&ConnectionInfo]) -> String {
        let over = if self.duration_ms.is_some() { "it ends" } else { "it is lifted" };
        match (self.kind, connections.is_empty(), self.disconnect_after_ms) {
            (Some(SanctionKind::Timeout), false, _) => {
                format!("All stay open; comments are refused until {over}.")
            }
            (Some(SanctionKind::Timeout), true, _) => {
                format!("Comments are refused until {over}.")
            }
            (Some(SanctionKind::Ban), false, 0) => {
                format!("All are closed, and new ones refused until {over}.")
            }
            (Some(SanctionKind::Ban), false, after_ms) => format!(
                "All close in {}; comments are refused at once, and new connections until {over}.",
                show_duration(after_ms)
            ),
            (Some(SanctionKind::Ban), true, _) => format!("New ones are refused until {over}."),
            (None, false, _) => "All are closed; new ones are accepted.".to_owned(),
            (None, true, _) => "Nothing is closed.".to_owned(),
        }
    }
}

/// Names few users, and counts many, or those that are not left out.
pub(super) fn users_text(hit: &[&Who], found: usize) -> String {
    if hit.len() < found {
        return format!("{} of {}", hit.len(), show_counted(found as u64, "user"));
    }
    if hit.len() > MAX_NAMES {
        return show_counted(hit.len() as u64, "user");
    }
    let text = |who: &&Who| match &who.name {
        Some(name) => format!("{name} (user {})", who.user_id),
        None => format!("user {}", who.user_id),
    };
    hit.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Counts connections, and names their node if they are on one.
pub(super) fn open_text(connections: &[&ConnectionInfo]) -> String {
    let nodes: BTreeSet<_> = connections.iter().map(|connection| &connection.node).collect();
    let count = show_counted(connections.len() as u64, "connection");
    match nodes.first() {
        None => "no connections".to_owned(),
        Some(node) if nodes.len() == 1 => format!("{count} on {node}"),
        Some(_) => format!("{count} on {}", show_counted(nodes.len() as u64, "node")),
    }
}

pub(super) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Viewer => "a viewer",
        Role::Moderator => "a moderator",
        Role::Broadcaster => "a broadcaster",
        Role::Admin => "an admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::in_memory::sanction;
    use crate::daemon::engines::registry::conformance::connection;
    use crate::protocol::{NodeId, UserId};

    const BAN: UserAct = UserAct {
        kind: Some(SanctionKind::Ban),
        stream_id: None,
        duration_ms: None,
        disconnect_after_ms: 0,
        include_moderators: false,
    };
    const TIMEOUT: UserAct = UserAct { kind: Some(SanctionKind::Timeout), ..BAN };
    const KICK: UserAct = UserAct { kind: None, ..BAN };

    fn who(user_id: u64, nodes: &[&str], kind: Option<SanctionKind>) -> Who {
        Who {
            user_id: UserId(user_id),
            name: None,
            connections: nodes.iter().map(|node| connection(&NodeId::new(node), 1, 0)).collect(),
            sanctions: kind.map(|kind| sanction(user_id, kind, None)).into_iter().collect(),
            shadows: Vec::new(),
            unreachable: Vec::new(),
        }
    }

    /// A user with a connection of each of these roles.
    fn with_roles(user_id: u64, roles: &[Role]) -> Who {
        let connection = |role: &Role| {
            let viewer = connection(&NodeId::new("a"), 1, 0);
            ConnectionInfo { role: *role, ..viewer }
        };
        let connections = roles.iter().map(connection).collect();
        Who { connections, ..who(user_id, &[], None) }
    }

    fn found(found: impl IntoIterator<Item = Who>) -> NamedUsers {
        NamedUsers { found: found.into_iter().collect(), unknown: Vec::new() }
    }

    #[test]
    fn users_are_counted_with_their_connections() {
        let named = NamedUsers {
            unknown: vec!["no user x".to_owned()],
            ..found([
                who(1, &["a", "b"], None),
                who(2, &["b"], Some(SanctionKind::Ban)),
                who(3, &[], Some(SanctionKind::Timeout)),
            ])
        };
        let preview = BAN.preview(named);
        assert_eq!((preview.users, preview.connections, preview.already), (3, 3, 1));
        assert_eq!(preview.nodes, [NodeId::new("a"), NodeId::new("b")]);
        assert_eq!(
            preview.effect,
            "Ban user 1, user 2, user 3 permanently: 3 connections on 2 nodes. All are closed, and \
             new ones refused until it is lifted. It replaces that of 1 user. Not found: no \
             user x."
        );
        let many = [1, 2, 3, 4].map(|user_id| who(user_id, &["a"], None));
        let kicked = KICK.preview(found(many)).effect;
        assert!(kicked.starts_with("Kick 4 users: 4 connections on a."), "{kicked}");
    }

    #[test]
    fn a_user_is_named_and_nothing_is_closed_in_vain() {
        let lena = || Who { name: Some("lena".to_owned()), ..who(43, &[], None) };
        let told = |act: UserAct| act.preview(found([lena()])).effect;
        let duration_ms = Some(300_000);
        assert_eq!(
            told(UserAct { duration_ms, ..BAN }),
            "Ban lena (user 43) for 5m: no connections. New ones are refused until it ends."
        );
        assert_eq!(
            told(UserAct { duration_ms, ..TIMEOUT }),
            "Time out lena (user 43) for 5m: no connections. Comments are refused until it ends."
        );
        assert_eq!(told(KICK), "Kick lena (user 43): no connections. Nothing is closed.");
        let unknown = vec!["no user x".to_owned()];
        let nobody = NamedUsers { unknown, ..NamedUsers::default() };
        assert_eq!(KICK.preview(nobody).effect, "Kick nobody. Not found: no user x.");
    }

    #[test]
    fn connections_that_close_later_are_told() {
        let later = UserAct { disconnect_after_ms: 10_000, ..BAN };
        assert_eq!(
            later.preview(found([who(1, &["a"], None)])).effect,
            "Ban user 1 permanently: 1 connection on a. All close in 10s; comments are refused at \
             once, and new connections until it is lifted."
        );
    }

    #[test]
    fn moderators_among_many_are_left_out() {
        let users = || {
            found([
                with_roles(1, &[Role::Viewer]),
                with_roles(2, &[Role::Viewer, Role::Moderator]),
                with_roles(3, &[Role::Admin]),
                with_roles(4, &[]),
            ])
        };
        let timeout = UserAct { duration_ms: Some(600_000), ..TIMEOUT };
        let preview = timeout.preview(users());
        assert_eq!((preview.users, preview.moderators, preview.connections), (2, 2, 1));
        assert_eq!(
            preview.effect,
            "Time out 2 of 4 users for 10m: 1 connection on a. All stay open; comments are refused \
             until it ends. 2 moderators among them: left out."
        );
        let all = UserAct { include_moderators: true, ..timeout }.preview(users());
        assert_eq!((all.users, all.moderators, all.connections), (4, 2, 4));
        assert!(all.effect.ends_with(" 2 moderators among them."), "{all:?}");
        let only = [5, 6].map(|user_id| with_roles(user_id, &[Role::Moderator]));
        let only = KICK.preview(found(only));
        assert_eq!(only.effect, "Kick nobody. 2 moderators among them: left out.");
        assert_eq!((only.users, only.moderators, only.connections), (0, 2, 0));
    }

    #[test]
    fn a_moderator_that_is_named_alone_is_told() {
        let told = |role| BAN.preview(found([with_roles(1, &[Role::Viewer, role])])).effect;
        let ban = "Ban user 1 permanently: 2 connections on a. All are closed, and new ones \
                   refused until it is lifted.";
        assert_eq!(told(Role::Viewer), ban);
        assert_eq!(told(Role::Moderator), format!("{ban} The user is a moderator."));
        assert_eq!(told(Role::Admin), format!("{ban} The user is an admin."));
    }

    #[test]
    fn a_sanction_in_force_is_told() {
        let banned = || found([who(1, &["a"], Some(SanctionKind::Ban))]);
        let ban = BAN.preview(banned());
        assert!(ban.effect.ends_with("It replaces the ban without an end."), "{ban:?}");
        let timeout = UserAct { duration_ms: Some(1_000), ..TIMEOUT }.preview(banned());
        assert!(timeout.effect.ends_with("Left out: 1 user banned; the ban stays."), "{timeout:?}");
    }

    #[test]
    fn an_act_on_a_stream_is_about_that_stream() {
        let on = |stream_id, kind| Sanction { stream_id, ..sanction(1, kind, None) };
        let stream_id = Some(StreamId(7));
        let elsewhere = Who {
            sanctions: vec![on(None, SanctionKind::Ban), on(stream_id, SanctionKind::Ban)],
            ..who(1, &["a"], None)
        };
        let ban = UserAct { stream_id, ..BAN }.preview(found([elsewhere.clone()]));
        assert_eq!(
            ban.effect,
            "Ban user 1 on stream 7 permanently: no connections. New ones are refused until it is \
             lifted. It replaces the ban on stream 7 without an end."
        );
        assert_eq!((ban.connections, ban.already), (0, 1), "its connection is on stream 1");
        let timeout = UserAct { stream_id: Some(StreamId(1)), duration_ms: Some(1_000), ..TIMEOUT };
        let covered = timeout.preview(found([elsewhere])).effect;
        assert!(covered.ends_with("Left out: 1 user banned; the ban stays."), "{covered}");
        let sanctions = vec![on(stream_id, SanctionKind::Ban)];
        let free = timeout.preview(found([Who { sanctions, ..who(1, &["a"], None) }])).effect;
        assert!(free.ends_with("comments are refused until it ends."), "{free}");
    }

    #[test]
    fn nodes_that_do_not_answer_are_named() {
        let silent = |name| Who { unreachable: vec![NodeId::new(name)], ..who(1, &["a"], None) };
        let preview = KICK.preview(found([silent("c"), silent("b"), silent("c")]));
        assert_eq!(
            preview.effect,
            "Kick user 1, user 1, user 1: 3 connections on a. All are closed; new ones are \
             accepted. Not counted, no answer: b, c."
        );
    }
}
