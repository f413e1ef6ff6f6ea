//! The effect of an action, computed before it is done, and the consent that it needs.

use std::collections::BTreeSet;

use super::action::{Action, describe};
use super::batch::{MANY_USERS, undo_window_ms};
use crate::protocol::StreamId;
use crate::protocol::admin::{
    DrainRequest, MAX_CHANGES, SanctionKind, ThrottleRequest, UserRef, Who, drain_effect,
};
use crate::protocol::quantity::{show_duration, show_rate, show_share};
use crate::tui::feed::{Moment, throttle_reason};
use crate::tui::figures;

/// From this share of the viewers on, the name must be typed, as for many users.
const MANY_VIEWERS: f64 = 0.01;

/// The keys that must be typed before an action is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Nothing: it is small, and can be taken back.
    None,
    Enter,
    /// This text, then Enter.
    Typed(String),
}

/// The question before an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Confirmation {
    pub(crate) actions: Vec<Action>,
    pub(crate) title: String,
    pub(crate) effect: Vec<String>,
    pub(crate) consent: Consent,
    pub(crate) typed: String,
}

impl Confirmation {
    /// Returns whether what was typed suffices.
    pub(crate) fn is_given(&self) -> bool {
        match &self.consent {
            Consent::None | Consent::Enter => true,
            Consent::Typed(text) => self.typed.trim() == text,
        }
    }
}

/// Returns the users whose connections and sanctions must be known to compute the effect.
pub(crate) fn needs_lookup(actions: &[Action]) -> Vec<UserRef> {
    let user = |action: &Action| match action {
        Action::Ban(request) => Some(request.user.clone()),
        Action::Kick(request) => Some(request.user.clone()),
        _ => None,
    };
    actions.iter().filter_map(user).collect()
}

/// Computes the effect of actions. `users` are the answers to [`needs_lookup`].
pub(crate) fn confirmation(
    actions: Vec<Action>,
    users: &[Who],
    hidden_marks: usize,
    moment: Option<&Moment>,
) -> Confirmation {
    let mut effect = match (&actions[..], moment) {
        ([Action::Throttle(request)], Some(moment)) => throttle(request, moment),
        ([Action::Announce(request)], Some(moment)) => announce(request.stream_id, moment),
        ([Action::Drain(request)], Some(moment)) => drain(request, moment),
        ([Action::Direct(_)], _) => {
            vec!["Only this user reads it. It cannot be taken back.".to_owned()]
        }
        ([Action::DeleteOfUser(_)], _) => {
            vec![format!("The newest go first, at most {MAX_CHANGES}. It cannot be taken back.")]
        }
        ([Action::AcknowledgeLoss(request)], moment) => losses(&request.problem, moment),
        _ => Vec::new(),
    };
    effect.extend(users_hit(&actions, users));
    effect.extend(end_and_undo(&actions));
    if hidden_marks > 0 {
        effect.push(format!(
            "{} hidden by the filter.",
            figures::counted(hidden_marks as u64, "marked row")
        ));
    }
    let title = match &actions[..] {
        [one] => describe(one),
        [first, ..] => format!("{} and {} more", describe(first), actions.len() - 1),
        [] => String::new(),
    };
    let consent = consent(&actions, moment);
    Confirmation { actions, title, effect, consent, typed: String::new() }
}

/// Says when actions of one kind end, and whether they can be taken back.
fn end_and_undo(actions: &[Action]) -> Option<String> {
    let users = figures::counted(actions.len() as u64, "user");
    Some(match actions.first()? {
        Action::Ban(request) => match request.duration_ms {
            Some(ms) => format!("It ends by itself after {}. U takes it back.", show_duration(ms)),
            None => "It does not end by itself. U takes it back.".to_owned(),
        },
        Action::Timeout(request) => {
            let time = request.duration_ms.map(|ms| format!(" for {}", show_duration(ms)));
            let time = time.unwrap_or_default();
            format!("{users}: may watch but not comment{time}. U takes it back.")
        }
        Action::Unban(_) => format!("{users}: may watch and comment again. U takes it back."),
        Action::Delete(_) | Action::Approve(_) | Action::Reject(_) => {
            let comments = figures::counted(actions.len() as u64, "comment");
            format!("{comments}. It cannot be taken back.")
        }
        _ => return None,
    })
}

fn consent(actions: &[Action], moment: Option<&Moment>) -> Consent {
    // A claim runs out by itself.
    let only_claims = actions.iter().all(|action| matches!(action, Action::Claim(_)));
    if actions.len() > MANY_USERS && !only_claims {
        return Consent::Typed(actions.len().to_string());
    }
    let watched = |stream_id: StreamId| {
        let moment = moment?;
        let viewers = moment.stream(stream_id)?.viewers as f64;
        Some(viewers / moment.snapshot.connections.max(1) as f64)
    };
    match actions.first() {
        None | Some(Action::Timeout(_) | Action::Unban(_) | Action::Delete(_)) => Consent::None,
        Some(
            Action::Approve(_)
            | Action::Reject(_)
            | Action::Claim(_)
            | Action::Acknowledge(_)
            | Action::Undo(_),
        ) => Consent::None,
        // Actions become a batch after the question.
        Some(
            Action::Ban(_)
            | Action::Kick(_)
            | Action::Direct(_)
            | Action::DeleteOfUser(_)
            | Action::AcknowledgeLoss(_)
            | Action::Batch(_),
        ) => Consent::Enter,
        Some(Action::SaveView(_) | Action::ForgetView(_)) => Consent::None,
        Some(Action::Drain(request)) if request.undo => Consent::Enter,
        Some(Action::Drain(request)) => {
            let own = moment.map(|moment| moment.snapshot.node.clone());
            let node = request.node.clone().or(own);
            node.map_or(Consent::Enter, |node| Consent::Typed(node.to_string()))
        }
        Some(Action::Throttle(request)) => {
            by_viewers(request.stream_id, watched(request.stream_id))
        }
        Some(Action::Announce(request)) => {
            by_viewers(request.stream_id, watched(request.stream_id))
        }
    }
}

fn by_viewers(stream_id: StreamId, share: Option<f64>) -> Consent {
    match share {
        Some(share) if share >= MANY_VIEWERS => Consent::Typed(stream_id.to_string()),
        _ => Consent::Enter,
    }
}

fn throttle(request: &ThrottleRequest, moment: &Moment) -> Vec<String> {
    let stream_id = request.stream_id;
    let Some(stream) = moment.stream(stream_id) else {
        return vec![format!("Stream {stream_id} is not known here.")];
    };
    let viewers = figures::counted(stream.viewers, "viewer");
    let now = stream.shown_per_second();
    let Some(share) = request.sample_rate else {
        return vec![
            format!("The throttle sets the share again; now it is {}.", throttle_reason(stream)),
            format!("{viewers} see {}/s now.", show_rate(now)),
        ];
    };
    let shown = stream.egress_share.of(share);
    let then = stream.comments_per_second * shown.share();
    let end = match request.for_ms {
        Some(ms) => format!("after {}", show_duration(ms)),
        None => "never (set `for`)".to_owned(),
    };
    let mut lines = vec![
        format!(
            "Show {} of stream {stream_id} instead of {}: {viewers} see {}/s instead of {}/s.",
            show_share(shown),
            show_share(stream.shown()),
            show_rate(then),
            show_rate(now),
        ),
        format!("History keeps all; U undoes it. Reverts by itself: {end}."),
    ];
    if !stream.egress_share.is_all() {
        let egress = show_share(stream.egress_share);
        lines.push(format!("Egress limits show {egress} of what the throttle lets pass."));
    }
    lines
}

fn announce(stream_id: StreamId, moment: &Moment) -> Vec<String> {
    match moment.stream(stream_id) {
        Some(stream) => {
            let viewers = figures::counted(stream.viewers, "viewer");
            vec![format!("{viewers} read it at once. It cannot be taken back.")]
        }
        None => vec![format!("Stream {stream_id} is not known here.")],
    }
}

fn losses(problem: &str, moment: Option<&Moment>) -> Vec<String> {
    let mut lines = vec![
        "The warnings of it end on every node that answers. It cannot be taken back.".to_owned(),
    ];
    let alarms = moment.map_or(&[][..], |moment| &moment.alarms);
    let shown = alarms.iter().filter(|alarm| alarm.rule == problem);
    lines.extend(shown.map(|alarm| alarm.text.clone()));
    lines
}

fn drain(request: &DrainRequest, moment: &Moment) -> Vec<String> {
    let name = request.node.as_ref().unwrap_or(&moment.snapshot.node);
    if request.undo {
        return vec![format!("{name} accepts viewers again.")];
    }
    let Some(node) = moment.node(name) else {
        return vec![format!("{name} does not report, and may not hear of it.")];
    };
    let effect = drain_effect(node, &moment.snapshot.nodes, None);
    vec![format!("{name}: {effect}."), "New viewers are refused there; U takes it back.".to_owned()]
}

fn users_hit(actions: &[Action], users: &[Who]) -> Vec<String> {
    if users.is_empty() {
        return Vec::new();
    }
    let connections: usize = users.iter().map(|who| who.connections.len()).sum();
    let mut nodes: Vec<_> =
        users.iter().flat_map(|who| &who.connections).map(|c| &c.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let closed = match (connections, nodes.len()) {
        (0, _) => "not connected now".to_owned(),
        (some, 1) => format!("{} on {}", figures::counted(some as u64, "connection"), nodes[0]),
        (some, nodes) => {
            format!("{} on {nodes} nodes", figures::counted(some as u64, "connection"))
        }
    };
    let who = match users {
        [one] => {
            let name = one.name.as_deref().unwrap_or("no known name");
            format!("{name} (user {})", one.user_id)
        }
        many => figures::counted(many.len() as u64, "user"),
    };
    let mut lines = vec![format!("{who}: {closed}.")];
    let silent: BTreeSet<_> = users.iter().flat_map(|who| &who.unreachable).collect();
    if !silent.is_empty() {
        let names: Vec<_> = silent.iter().map(|node| node.as_str()).collect();
        lines.push(format!("Not counted, no answer: {}.", names.join(", ")));
    }
    if matches!(actions.first(), Some(Action::Ban(_))) {
        lines.extend(bans_replaced(users));
        if connections > 0 {
            let window = show_duration(undo_window_ms(actions.len()));
            lines.push(format!("Connections close in {window}; comments are refused at once."));
        }
    }
    lines
}

/// Names the ban that a new one replaces, or counts them.
fn bans_replaced(users: &[Who]) -> Option<String> {
    let ban = |who: &Who| who.sanctions.iter().find(|it| it.kind == SanctionKind::Ban).cloned();
    let bans: Vec<_> = users.iter().filter_map(ban).collect();
    match &bans[..] {
        [] => None,
        [one] if users.len() == 1 => Some(format!("It replaces {}.", one.text())),
        some => Some(format!(
            "{} banned already; the new ban replaces that.",
            figures::counted(some.len() as u64, "user")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{
        AcknowledgeRequest, ClaimRequest, ConnectionInfo, SanctionRequest, UserRequest,
    };
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{CommentId, NodeId, UserId};
    use crate::tui::feed::samples;

    fn ban(user: &str) -> Action {
        let user = UserRef(user.to_owned());
        Action::Ban(SanctionRequest { user, reason: None, note: None, duration_ms: None })
    }

    fn who(user: u64, nodes: &[&str]) -> Who {
        let connection = |node: &&str| ConnectionInfo {
            node: NodeId::new(node),
            stream_id: StreamId(7),
            connected_at: 0,
        };
        Who {
            user_id: UserId(user),
            name: Some(format!("zed_{user}")),
            connections: nodes.iter().map(connection).collect(),
            sanctions: Vec::new(),
            unreachable: Vec::new(),
        }
    }

    #[test]
    fn a_throttle_says_what_viewers_see() {
        let moment = samples::moment(samples::throttled(60));
        let sample_rate = SampleRate::from_share(0.02);
        let stream_id = StreamId(7);
        let throttle = ThrottleRequest { stream_id, sample_rate, for_ms: None };
        let for_a_time = ThrottleRequest { for_ms: Some(600_000), ..throttle.clone() };
        let action = Action::Throttle(throttle);
        let asked = confirmation(vec![Action::Throttle(for_a_time)], &[], 0, Some(&moment));
        assert!(asked.effect[1].ends_with("Reverts by itself: after 10m."), "{:?}", asked.effect);
        let asked = confirmation(vec![action], &[], 0, Some(&moment));
        let first = &asked.effect[0];
        assert!(
            first.starts_with("Show 2% of stream 7 instead of 10%: 17k viewers see"),
            "{first}"
        );
        assert_eq!(asked.consent, Consent::Typed("7".to_owned()), "more than 1 % of the viewers");
        assert!(!asked.is_given());
        assert!(Confirmation { typed: "7".into(), ..asked }.is_given());
    }

    #[test]
    fn a_ban_of_many_counts_their_connections() {
        let actions: Vec<_> = (1..=38).map(|user| ban(&user.to_string())).collect();
        assert_eq!(needs_lookup(&actions).len(), 38);
        let users: Vec<_> = (1..=38).map(|user| who(user, &["edge-1", "edge-2"])).collect();
        let asked = confirmation(actions, &users, 4, None);
        assert_eq!(asked.title, "ban 1 and 37 more");
        assert_eq!(asked.effect[0], "38 users: 76 connections on 2 nodes.");
        assert!(asked.effect.iter().any(|line| line == "4 marked rows hidden by the filter."));
        assert_eq!(asked.consent, Consent::Typed("38".to_owned()));
        let one = confirmation(vec![ban("zed")], &[who(4711, &[])], 0, None);
        assert_eq!(one.effect[0], "zed_4711 (user 4711): not connected now.");
        assert_eq!(one.consent, Consent::Enter);
    }

    #[test]
    fn nodes_that_do_not_answer_are_named() {
        let silent = |name| Who { unreachable: vec![NodeId::new(name)], ..who(1, &["edge-1"]) };
        let users = [silent("c"), silent("b"), silent("c")];
        let asked = confirmation(vec![ban("1")], &users, 0, None);
        assert_eq!(asked.effect[1], "Not counted, no answer: b, c.");
    }

    #[test]
    fn ending_warnings_of_losses_shows_them_first() {
        let mut moment = samples::moment(samples::healthy(60));
        let request = AcknowledgeRequest { problem: "store_missing".to_owned() };
        let mut problem = samples::alarm("store_missing");
        problem.text = "comments before 09:00 are gone".to_owned();
        moment.alarms = vec![problem, samples::alarm("places_low")];
        let asked = confirmation(vec![Action::AcknowledgeLoss(request)], &[], 0, Some(&moment));
        assert_eq!(asked.consent, Consent::Enter);
        assert!(asked.effect[0].contains("cannot be taken back"), "{:?}", asked.effect);
        assert_eq!(asked.effect[1..], ["comments before 09:00 are gone"]);
    }

    #[test]
    fn what_is_small_needs_no_consent() {
        let user = UserRef("ann".to_owned());
        let timeout = SanctionRequest { user, reason: None, note: None, duration_ms: Some(10) };
        let asked = confirmation(vec![Action::Timeout(timeout)], &[], 0, None);
        assert_eq!(asked.consent, Consent::None);
        assert!(needs_lookup(&asked.actions).is_empty());
    }

    #[test]
    fn a_timeout_of_many_says_how_long_it_lasts() {
        let timeout = |user: u64| {
            let user = UserRef(format!("id:{user}"));
            let duration_ms = Some(600_000);
            Action::Timeout(SanctionRequest { user, reason: None, note: None, duration_ms })
        };
        let asked = confirmation((1..=25).map(timeout).collect(), &[], 0, None);
        assert_eq!(asked.consent, Consent::Typed("25".to_owned()));
        assert_eq!(asked.effect, ["25 users: may watch but not comment for 10m. U takes it back."]);
    }

    #[test]
    fn many_claims_need_no_consent() {
        let claim = |number| {
            let comment_id = CommentId::from_unix_ticks(number, 1, [1; 6]);
            Action::Claim(ClaimRequest { comment_id, release: false })
        };
        let asked = confirmation((0..38).map(claim).collect(), &[], 0, None);
        assert_eq!(asked.consent, Consent::None);
    }

    #[test]
    fn draining_needs_the_name_of_the_node() {
        let moment = samples::moment(samples::healthy(60));
        let drain = Action::Drain(DrainRequest::default());
        let asked = confirmation(vec![drain], &[], 0, Some(&moment));
        assert_eq!(asked.consent, Consent::Typed("edge-1".to_owned()));
        assert_eq!(asked.effect[0], "edge-1: 9.3k viewers move; the other node has room for 11k.");
        let other = DrainRequest { node: Some(NodeId::new("edge-2")), undo: false };
        let asked = confirmation(vec![Action::Drain(other)], &[], 0, Some(&moment));
        assert_eq!(asked.title, "drain edge-2");
        assert_eq!(asked.consent, Consent::Typed("edge-2".to_owned()));
        assert!(asked.effect[0].starts_with("edge-2: 9k viewers move;"), "{:?}", asked.effect);
    }

    #[test]
    fn acts_that_can_be_taken_back_are_known() {
        use crate::tui::act::undo_of;
        let undo = undo_of(&ban("zed"), 17);
        assert!(matches!(undo, Some(Action::Undo(undo)) if undo.audit_id == 17));
        let drained = undo_of(&Action::Drain(DrainRequest::default()), 18);
        assert!(matches!(drained, Some(Action::Undo(undo)) if undo.audit_id == 18));
        let kick = UserRequest { user: UserRef("zed".to_owned()), note: None };
        assert_eq!(undo_of(&Action::Kick(kick), 19), None);
    }
}
