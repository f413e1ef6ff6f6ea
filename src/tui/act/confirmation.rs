//! The question before an act: its effect, which the daemon computes, and the consent it needs.
//!
//! Always holds: the question is on the screen at once. It is given only after the effect is shown,
//! or after the screen says why it is not known.

use super::action::{Action, describe};
use super::batch::MANY_USERS;
use super::preview::preview_of;
use super::undo::UndoEntry;
use crate::protocol::StreamId;
use crate::protocol::admin::{DrainRequest, Preview, PreviewRequest};
use crate::protocol::room::RoomPatch;
use crate::tui::feed::Moment;
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

/// The effect of an act, as far as it depends on the state of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ActEffect {
    /// It does not depend on it.
    Plain,
    /// The daemon was asked this.
    Computing(PreviewRequest),
    Shown(String),
    /// It is not known, for this reason.
    Unknown(String),
}

/// The question before an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Confirmation {
    pub(crate) actions: Vec<Action>,
    /// The act that is taken back instead of doing the actions, which that amounts to.
    pub(crate) takes_back: Option<UndoEntry>,
    pub(crate) title: String,
    pub(crate) effect: ActEffect,
    /// Sentences that hold whatever the effect is.
    pub(crate) notes: Vec<String>,
    pub(crate) consent: Consent,
    pub(crate) typed: String,
}

impl Confirmation {
    /// Returns the question about actions, with what the console knows itself.
    pub(crate) fn new(actions: Vec<Action>, hidden_marks: usize, moment: Option<&Moment>) -> Self {
        let title = match &actions[..] {
            [one] => describe(one),
            [first, ..] => format!("{} and {} more", describe(first), actions.len() - 1),
            [] => String::new(),
        };
        let mut notes = notes(&actions, moment);
        if hidden_marks > 0 {
            notes.push(format!(
                "{} hidden by the filter.",
                figures::counted(hidden_marks as u64, "marked row")
            ));
        }
        let effect = preview_of(&actions).map_or(ActEffect::Plain, ActEffect::Computing);
        let consent = consent(&actions, moment);
        Self { actions, takes_back: None, title, effect, notes, consent, typed: String::new() }
    }

    /// Returns the question about taking an act back: the one about what that amounts to. `None`
    /// if that needs nothing typed, for then nothing is asked.
    pub(crate) fn of_undo(entry: &UndoEntry, moment: Option<&Moment>) -> Option<Self> {
        let question = Self::new(entry.equivalents.clone(), 0, moment);
        if !matches!(question.consent, Consent::Typed(_)) {
            return None;
        }
        let title = format!("take back: {}", entry.text);
        let amounts_to = format!("That is: {}. U does not take it back.", question.title);
        let notes = vec![amounts_to];
        Some(Self { title, notes, takes_back: Some(entry.clone()), ..question })
    }

    /// Returns what the daemon must be asked, if it is not answered yet.
    pub(crate) fn asked(&self) -> Option<&PreviewRequest> {
        match &self.effect {
            ActEffect::Computing(asked) => Some(asked),
            ActEffect::Plain | ActEffect::Shown(_) | ActEffect::Unknown(_) => None,
        }
    }

    /// Takes the answer to a request. That to another question changes nothing.
    pub(crate) fn answer(&mut self, asked: &PreviewRequest, answer: Result<Preview, String>) {
        if self.asked() == Some(asked) {
            self.effect = match answer {
                Ok(preview) => ActEffect::Shown(preview.effect),
                Err(why) => ActEffect::Unknown(why),
            };
        }
    }

    /// Returns why the act is not done yet; `None` if it is.
    pub(crate) fn missing(&self) -> Option<String> {
        if self.asked().is_some() {
            return Some("its effect is still being computed".to_owned());
        }
        match &self.consent {
            Consent::Typed(wanted) if self.typed.trim() != wanted => {
                Some(format!("type {wanted}, then Enter"))
            }
            Consent::None | Consent::Enter | Consent::Typed(_) => None,
        }
    }
}

/// Says whether actions of one kind can be taken back, and what does not depend on the cluster.
fn notes(actions: &[Action], moment: Option<&Moment>) -> Vec<String> {
    let note = match actions {
        [] => return Vec::new(),
        [Action::Direct(_)] => "Only this user reads it. It cannot be taken back.".to_owned(),
        [Action::AcknowledgeLoss(request)] => return losses(&request.problem, moment),
        [Action::Drain(DrainRequest { node, undo: true })] => match node {
            Some(node) => format!("{node} accepts viewers again."),
            None => "It accepts viewers again.".to_owned(),
        },
        [Action::Drain(_)] => "New viewers are refused there; U takes it back.".to_owned(),
        [Action::Announce(_)] => "It cannot be taken back.".to_owned(),
        [Action::DeleteOfUser(_)] => {
            "U takes it back; viewers that saw them vanish must then reload.".to_owned()
        }
        [Action::Restore(_)] => {
            "Who joins later sees it. Viewers that saw it vanish must reload.".to_owned()
        }
        [Action::Ban(_) | Action::Timeout(_) | Action::Throttle(_), ..] => {
            "U takes it back.".to_owned()
        }
        [Action::Shadow(_), ..] => {
            "Nothing is told to the user. U takes it back; what was said until then stays hidden."
                .to_owned()
        }
        [Action::Unshadow(_), ..] => {
            let users = figures::counted(actions.len() as u64, "user");
            format!("{users}: new comments are shown to everybody. U takes it back.")
        }
        [Action::Room { stream_id, patch }] => return room_notes(*stream_id, patch, moment),
        [Action::RoomTerms { .. }] => {
            "In force within seconds, on all nodes, for new comments; nobody is told. U takes it \
             back."
                .to_owned()
        }
        [Action::ClearRoom { .. }] => {
            "Whoever wrote it. U takes it back; viewers that saw them vanish must then reload."
                .to_owned()
        }
        [Action::Unban(_), ..] => {
            let users = figures::counted(actions.len() as u64, "user");
            format!("{users}: may watch and comment again. U takes it back.")
        }
        [Action::Delete(_) | Action::Reject(_), ..] => {
            let comments = figures::counted(actions.len() as u64, "comment");
            format!("{comments}. U takes it back; viewers that saw them vanish must then reload.")
        }
        [Action::Approve(_), ..] => {
            let comments = figures::counted(actions.len() as u64, "comment");
            format!("{comments}. It cannot be taken back.")
        }
        _ => return Vec::new(),
    };
    vec![note]
}

/// Says who is told of a change of a room, and what is in force then.
fn room_notes(stream_id: StreamId, patch: &RoomPatch, moment: Option<&Moment>) -> Vec<String> {
    let stream = moment.and_then(|moment| moment.stream(stream_id));
    let Some(stream) = stream else { return vec!["U takes it back.".to_owned()] };
    let mut settings = stream.room.clone();
    settings.apply(patch.clone());
    let in_force = match settings.in_force().texts() {
        texts if texts.is_empty() => "no rule: everybody may comment".to_owned(),
        texts => texts.join(", "),
    };
    let viewers = figures::counted(stream.viewers, "viewer");
    let be = if stream.viewers == 1 { "is" } else { "are" };
    vec![
        format!("In force then: {in_force}."),
        format!("{viewers} {be} told at once; moderators are exempt. U takes it back."),
    ]
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
        Some(Action::Unshadow(_)) => Consent::None,
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
            | Action::Shadow(_)
            // A raid leaves no time to type.
            | Action::Room { .. }
            | Action::RoomTerms { .. }
            | Action::ClearRoom { .. }
            | Action::Kick(_)
            | Action::Direct(_)
            | Action::DeleteOfUser(_)
            | Action::Restore(_)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{
        AcknowledgeRequest, BatchChange, BatchRequest, ClaimRequest, DeleteRequest, RestoreRequest,
        ReviewRequest, SanctionRequest, ShadowRequest, ThrottleRequest, UserRef, UserRequest,
    };
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{CommentId, NodeId};
    use crate::tui::feed::samples;

    fn ban(user: &str) -> Action {
        let user = UserRef(user.to_owned());
        Action::Ban(SanctionRequest {
            user,
            stream_id: None,
            reason: None,
            note: None,
            duration_ms: None,
        })
    }

    fn preview(effect: &str) -> Preview {
        Preview { effect: effect.to_owned(), ..Preview::default() }
    }

    #[test]
    fn nothing_is_done_before_the_effect_is_shown() {
        let mut question = Confirmation::new(vec![ban("zed")], 0, None);
        let asked = question.asked().cloned().unwrap();
        assert_eq!(question.missing().as_deref(), Some("its effect is still being computed"));
        let other = Confirmation::new(vec![ban("ann")], 0, None);
        question.answer(other.asked().unwrap(), Ok(preview("Ban ann.")));
        assert!(question.missing().is_some(), "that was about somebody else");
        question.answer(&asked, Ok(preview("Ban zed.")));
        assert_eq!(question.effect, ActEffect::Shown("Ban zed.".to_owned()));
        assert_eq!(question.missing(), None);
        question.answer(&asked, Err("too late".to_owned()));
        assert_eq!(question.effect, ActEffect::Shown("Ban zed.".to_owned()));
    }

    #[test]
    fn an_unknown_effect_does_not_forbid_the_act() {
        let mut question = Confirmation::new(vec![ban("zed")], 0, None);
        let asked = question.asked().cloned().unwrap();
        question.answer(&asked, Err("the store is down".to_owned()));
        assert_eq!(question.effect, ActEffect::Unknown("the store is down".to_owned()));
        assert_eq!(question.missing(), None);
    }

    #[test]
    fn a_large_throttle_wants_its_stream_typed() {
        let moment = samples::moment(samples::throttled(60));
        let sample_rate = SampleRate::from_share(0.02);
        let throttle = ThrottleRequest { stream_id: StreamId(7), sample_rate, for_ms: None };
        let mut question = Confirmation::new(vec![Action::Throttle(throttle)], 0, Some(&moment));
        assert_eq!(
            question.consent,
            Consent::Typed("7".to_owned()),
            "more than 1 % of the viewers"
        );
        let asked = question.asked().cloned().unwrap();
        question.answer(&asked, Ok(preview("Show 2% of stream 7.")));
        assert_eq!(question.missing().as_deref(), Some("type 7, then Enter"));
        question.typed = "7".to_owned();
        assert_eq!(question.missing(), None);
    }

    #[test]
    fn a_ban_of_many_wants_their_number_typed() {
        let actions: Vec<_> = (1..=38).map(|user| ban(&user.to_string())).collect();
        let asked = Confirmation::new(actions, 4, None);
        assert_eq!(asked.title, "ban 1 and 37 more");
        assert_eq!(asked.notes, ["U takes it back.", "4 marked rows hidden by the filter."]);
        assert_eq!(asked.consent, Consent::Typed("38".to_owned()));
        assert_eq!(Confirmation::new(vec![ban("zed")], 0, None).consent, Consent::Enter);
    }

    #[test]
    fn ending_warnings_of_losses_shows_them_first() {
        let mut moment = samples::moment(samples::healthy(60));
        let request = AcknowledgeRequest { problem: "store_missing".to_owned() };
        let mut problem = samples::alarm("store_missing");
        problem.text = "comments before 09:00 are gone".to_owned();
        moment.alarms = vec![problem, samples::alarm("places_low")];
        let asked = Confirmation::new(vec![Action::AcknowledgeLoss(request)], 0, Some(&moment));
        assert_eq!((asked.consent, asked.effect), (Consent::Enter, ActEffect::Plain));
        assert!(asked.notes[0].contains("cannot be taken back"), "{:?}", asked.notes);
        assert_eq!(asked.notes[1..], ["comments before 09:00 are gone"]);
    }

    #[test]
    fn what_is_small_needs_no_consent() {
        let timeout = |user: u64| {
            let user = UserRef(format!("id:{user}"));
            let duration_ms = Some(600_000);
            Action::Timeout(SanctionRequest {
                user,
                stream_id: None,
                reason: None,
                note: None,
                duration_ms,
            })
        };
        let asked = Confirmation::new(vec![timeout(1)], 0, None);
        assert_eq!(asked.consent, Consent::None);
        let many = Confirmation::new((1..=25).map(timeout).collect(), 0, None);
        assert_eq!(many.consent, Consent::Typed("25".to_owned()));
        assert!(many.asked().is_some());
    }

    #[test]
    fn many_claims_need_no_consent() {
        let claim = |number| {
            let comment_id = CommentId::from_unix_ticks(number, 1, [1; 6]);
            Action::Claim(ClaimRequest { comment_id, release: false })
        };
        let asked = Confirmation::new((0..38).map(claim).collect(), 0, None);
        assert_eq!(asked.consent, Consent::None);
    }

    #[test]
    fn deletions_tell_that_viewers_must_reload() {
        let comment_id = CommentId::from_unix_ticks(1, 1, [1; 6]);
        let delete = Action::Delete(DeleteRequest { comment_id, reason: None, note: None });
        let asked = Confirmation::new(vec![delete; 12], 0, None);
        let text = "12 comments. U takes it back; viewers that saw them vanish must then reload.";
        assert_eq!(asked.notes, [text]);
        let restore = Action::Restore(RestoreRequest { comment_id, note: None });
        let asked = Confirmation::new(vec![restore], 0, None);
        assert_eq!(asked.consent, Consent::Enter, "what was removed is shown again");
        assert!(asked.notes[0].contains("must reload"), "{:?}", asked.notes);
    }

    #[test]
    fn a_shadow_ban_is_asked_about_and_taken_back() {
        let shadow = |user: &str| {
            let user = UserRef(user.to_owned());
            let duration_ms = Some(600_000);
            Action::Shadow(ShadowRequest { user, stream_id: None, note: None, duration_ms })
        };
        let asked = Confirmation::new(vec![shadow("zed")], 0, None);
        assert_eq!(asked.title, "shadow-ban zed for 10m");
        assert_eq!(asked.consent, Consent::Enter);
        assert!(asked.asked().is_some(), "its effect is computed");
        let undo = crate::tui::act::undo_of(&shadow("zed"), 17);
        assert!(matches!(undo, Some(Action::Undo(undo)) if undo.audit_id == 17));
    }

    #[test]
    fn a_rule_of_a_room_tells_what_is_in_force_then() {
        let moment = samples::moment(samples::throttled(60));
        let patch = RoomPatch::of_words("shield", &["on"]).unwrap();
        let shield = Action::Room { stream_id: StreamId(7), patch };
        let asked = Confirmation::new(vec![shield], 0, Some(&moment));
        assert_eq!(
            (asked.title.as_str(), &asked.consent),
            ("stream 7: shield mode is on", &Consent::Enter)
        );
        assert!(asked.notes[0].starts_with("In force then: slow mode 30s, "), "{:?}", asked.notes);
        assert!(asked.notes[1].contains("viewers are told"), "{:?}", asked.notes);
    }

    #[test]
    fn draining_needs_the_name_of_the_node() {
        let moment = samples::moment(samples::healthy(60));
        let drain = Action::Drain(DrainRequest::default());
        let asked = Confirmation::new(vec![drain], 0, Some(&moment));
        assert_eq!(asked.consent, Consent::Typed("edge-1".to_owned()));
        let node = Some(NodeId::new("edge-2"));
        let other = DrainRequest { node: node.clone(), undo: false };
        let asked = Confirmation::new(vec![Action::Drain(other)], 0, Some(&moment));
        assert_eq!(asked.title, "drain edge-2");
        assert_eq!(asked.consent, Consent::Typed("edge-2".to_owned()));
        let back = Action::Drain(DrainRequest { node, undo: true });
        let back = Confirmation::new(vec![back], 0, Some(&moment));
        assert_eq!((back.consent, back.effect), (Consent::Enter, ActEffect::Plain));
        assert_eq!(back.notes, ["edge-2 accepts viewers again."]);
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
        let comment_id = CommentId::from_unix_ticks(1, 1, [1; 6]);
        let delete = DeleteRequest { comment_id, reason: None, note: None };
        let review = ReviewRequest { comment_id, reason: None, note: None };
        let changes = vec![BatchChange::Delete(delete.clone())];
        let batch = BatchRequest { changes, disconnect_after_ms: None, include_moderators: false };
        let acts = [Action::Delete(delete), Action::Reject(review.clone()), Action::Batch(batch)];
        for act in acts {
            let undo = undo_of(&act, 20);
            assert!(matches!(undo, Some(Action::Undo(undo)) if undo.audit_id == 20), "{act:?}");
        }
        assert_eq!(undo_of(&Action::Approve(review), 21), None);
    }
}
