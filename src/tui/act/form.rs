//! Forms: a few lines of text that become an action.

use std::borrow::Cow;

use super::action::Action;
use crate::protocol::StreamId;
use crate::protocol::admin::{
    AnnounceRequest, SanctionRequest, ShadowRequest, ThrottleRequest, UnbanRequest, UserRef,
    UserRequest,
};
use crate::protocol::quantity::{parse_duration, parse_share, show_duration};
use crate::protocol::room::DEFAULT_TIMEOUT_MS;

/// Maximum length of a line. Names and reasons are shorter.
const MAX_LINE_CHARS: usize = 200;

/// The kind of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormKind {
    Ban,
    /// With the presets of the room that the users are in, in milliseconds; often none.
    Timeout {
        presets_ms: Vec<u64>,
    },
    Shadow,
    Unshadow,
    Kick,
    Unban,
    Throttle {
        stream_id: StreamId,
        title: String,
    },
    Announce {
        stream_id: StreamId,
        title: String,
    },
}

/// One line of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) label: &'static str,
    pub(crate) value: String,
    pub(crate) hint: Cow<'static, str>,
}

/// A form with the values typed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) kind: FormKind,
    pub(crate) fields: Vec<Field>,
    /// The marked users that the form is about; empty if the first field names the user.
    users: Vec<UserRef>,
    /// Index of the field that receives keys.
    pub(crate) current: usize,
    /// The error of the latest submission.
    pub(crate) error: Option<String>,
}

const USER: (&str, &str) = ("user", "id or name");
const REASON: (&str, &str) = ("reason", "optional, shown to the user");
const NOTE: (&str, &str) = ("note", "optional, for the audit log");

impl Form {
    pub(crate) fn new(kind: FormKind) -> Self {
        let lines: &[(&'static str, &'static str)] = match &kind {
            FormKind::Ban => &[USER, REASON, NOTE, ("for", "10m, 7d; empty is permanent")],
            FormKind::Timeout { .. } => &[USER, REASON, NOTE, ("for", "1s to 30d; empty is 10m")],
            FormKind::Shadow => &[
                USER,
                NOTE,
                ("stream", "id; empty: on all streams"),
                ("for", "10m, 7d; empty has no end"),
            ],
            FormKind::Kick | FormKind::Unban | FormKind::Unshadow => &[USER, NOTE],
            FormKind::Throttle { .. } => &[
                ("show", "auto, all, 10%, 0.05, none"),
                ("for", "10m, 2h; empty: until t sets auto"),
            ],
            FormKind::Announce { .. } => &[("text", "shown to all viewers of the stream")],
        };
        let field =
            |&(label, hint)| Field { label, value: String::new(), hint: Cow::Borrowed(hint) };
        let mut fields: Vec<_> = lines.iter().map(field).collect();
        if let FormKind::Timeout { presets_ms } = &kind
            && !presets_ms.is_empty()
            && let Some(time) = fields.last_mut()
        {
            time.hint = preset_hint(presets_ms).into();
        }
        Self { kind, fields, users: Vec::new(), current: 0, error: None }
    }

    /// A form about users that are known. With several, the form has no field for them.
    pub(crate) fn about(kind: FormKind, users: &[UserRef]) -> Self {
        let mut form = Self::new(kind);
        match users {
            [] => {}
            [one] => {
                form.fields[0].value.clone_from(&one.0);
                form.current = 1;
            }
            many => {
                form.users = many.to_vec();
                form.fields[0].value = format!("{} marked users", many.len());
                form.current = 1;
            }
        }
        form
    }

    pub(crate) fn title(&self) -> String {
        match &self.kind {
            FormKind::Ban => "ban: disconnect and keep out".to_owned(),
            FormKind::Timeout { .. } => "timeout: may watch but not comment".to_owned(),
            FormKind::Shadow => "shadow ban: only the user sees new comments".to_owned(),
            FormKind::Unshadow => "end all shadow bans of a user".to_owned(),
            FormKind::Kick => "kick: disconnect, may reconnect".to_owned(),
            FormKind::Unban => "unban: lift ban and timeout".to_owned(),
            FormKind::Throttle { stream_id, title } => {
                format!("throttle stream {stream_id} {title}")
            }
            FormKind::Announce { stream_id, title } => {
                format!("announce to stream {stream_id} {title}")
            }
        }
    }

    pub(crate) fn next(&mut self) {
        self.current = (self.current + 1) % self.fields.len();
    }

    pub(crate) fn previous(&mut self) {
        self.current = (self.current + self.fields.len() - 1) % self.fields.len();
    }

    pub(crate) fn is_last(&self) -> bool {
        self.current + 1 == self.fields.len()
    }

    pub(crate) fn edit(&mut self, edit: Edit) {
        if self.current == 0 && !self.users.is_empty() {
            return;
        }
        edit.apply(&mut self.fields[self.current].value);
        self.error = None;
    }

    /// Returns the actions. If a value is invalid, stores the error, makes that field the current
    /// one, and returns `None`.
    pub(crate) fn submit(&mut self) -> Option<Vec<Action>> {
        match self.parse() {
            Ok(action) if self.users.is_empty() => Some(vec![action]),
            Ok(action) => Some(self.users.iter().map(|user| for_user(&action, user)).collect()),
            Err((field, error)) => {
                self.current = field;
                self.error = Some(error);
                None
            }
        }
    }

    /// Parses the fields; an error carries the index of the invalid field.
    fn parse(&self) -> Result<Action, (usize, String)> {
        let value = |at: usize| self.fields.get(at).map_or("", |field| field.value.trim());
        let duration_ms = |at: usize| -> Result<Option<u64>, (usize, String)> {
            let text = value(at);
            if text.is_empty() {
                return Ok(None);
            }
            let duration = parse_duration(text).map_err(|error| (at, error))?;
            Ok(Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
        };
        if let FormKind::Throttle { stream_id, .. } = self.kind {
            let sample_rate = match value(0) {
                "" => return Err((0, "enter auto, or a share such as 10%".to_owned())),
                text if text.eq_ignore_ascii_case("auto") => None,
                text => Some(parse_share(text).map_err(|error| (0, error))?),
            };
            let for_ms = duration_ms(1)?;
            if for_ms.is_some() && sample_rate.is_none() {
                return Err((1, "auto does not end: leave this empty".to_owned()));
            }
            return Ok(Action::Throttle(ThrottleRequest { stream_id, sample_rate, for_ms }));
        }
        if let FormKind::Announce { stream_id, .. } = self.kind {
            let message = value(0).to_owned();
            if message.is_empty() {
                return Err((0, "enter the text".to_owned()));
            }
            return Ok(Action::Announce(AnnounceRequest { stream_id, message }));
        }
        if value(0).is_empty() {
            return Err((0, "enter a user id or a name".to_owned()));
        }
        let user = UserRef(value(0).to_owned());
        let optional = |at| Some(value(at).to_owned()).filter(|text: &String| !text.is_empty());
        Ok(match self.kind {
            FormKind::Timeout { ref presets_ms } => {
                let preset = chosen_preset(value(3), presets_ms);
                let duration_ms = match preset {
                    Some(ms) => Some(ms),
                    None => Some(duration_ms(3)?.unwrap_or(DEFAULT_TIMEOUT_MS)),
                };
                let reason = optional(1);
                let note = optional(2);
                Action::Timeout(SanctionRequest {
                    user,
                    stream_id: None,
                    reason,
                    note,
                    duration_ms,
                })
            }
            FormKind::Shadow => {
                let stream_id = match value(2) {
                    "" => None,
                    text => {
                        let parsed = text.parse::<StreamId>();
                        Some(parsed.map_err(|error| (2, format!("{text}: {error}")))?)
                    }
                };
                let duration_ms = duration_ms(3)?;
                Action::Shadow(ShadowRequest { user, stream_id, note: optional(1), duration_ms })
            }
            FormKind::Unshadow => Action::Unshadow(UserRequest { user, note: optional(1) }),
            FormKind::Kick => Action::Kick(UserRequest { user, note: optional(1) }),
            FormKind::Unban => {
                Action::Unban(UnbanRequest { user, stream_id: None, note: optional(1) })
            }
            FormKind::Ban | FormKind::Throttle { .. } | FormKind::Announce { .. } => {
                let reason = optional(1);
                let note = optional(2);
                let duration_ms = duration_ms(3)?;
                Action::Ban(SanctionRequest { user, stream_id: None, reason, note, duration_ms })
            }
        })
    }
}

/// Writes `1 1m, 2 10m, 3 1h, or any time`: a digit stands for the preset of that number.
fn preset_hint(presets_ms: &[u64]) -> String {
    let numbered = presets_ms.iter().zip(1..);
    let shown: Vec<_> =
        numbered.map(|(ms, number)| format!("{number} {}", show_duration(*ms))).collect();
    format!("{}; or any time; empty is {}", shown.join(", "), show_duration(presets_ms[0]))
}

/// Returns the preset that a text chooses: the one of its number, the first if it is empty.
fn chosen_preset(text: &str, presets_ms: &[u64]) -> Option<u64> {
    let at = if text.is_empty() { 1 } else { text.parse().ok()? };
    presets_ms.get(usize::checked_sub(at, 1)?).copied()
}

/// Returns the same action for another user.
fn for_user(action: &Action, user: &UserRef) -> Action {
    let mut action = action.clone();
    match &mut action {
        Action::Ban(request) | Action::Timeout(request) => request.user.clone_from(user),
        Action::Kick(request) | Action::Unshadow(request) => request.user.clone_from(user),
        Action::Unban(request) => request.user.clone_from(user),
        Action::Shadow(request) => request.user.clone_from(user),
        _ => {}
    }
    action
}

/// A change at the end of a line of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    Push(char),
    Backspace,
    DeleteWord,
    Clear,
}

impl Edit {
    pub(crate) fn apply(self, line: &mut String) {
        match self {
            Self::Push(c) if c.is_control() || line.chars().count() >= MAX_LINE_CHARS => {}
            Self::Push(c) => line.push(c),
            Self::Backspace => {
                line.pop();
            }
            Self::DeleteWord => {
                let kept = line.trim_end().rfind(' ').map_or(0, |space| space + 1);
                line.truncate(kept);
            }
            Self::Clear => line.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::throttle::SampleRate;

    fn filled(kind: FormKind, values: &[&str]) -> Form {
        let mut form = Form::new(kind);
        for (field, value) in form.fields.iter_mut().zip(values) {
            field.value = (*value).to_owned();
        }
        form
    }

    fn timeout(presets_ms: &[u64]) -> FormKind {
        FormKind::Timeout { presets_ms: presets_ms.to_vec() }
    }

    #[test]
    fn presets_of_the_room_are_chosen_by_number() {
        let kind = timeout(&[60_000, 600_000, 86_400_000]);
        let hint = Form::new(kind.clone()).fields[3].hint.clone();
        assert_eq!(hint, "1 1m, 2 10m, 3 1d; or any time; empty is 1m");
        for (typed, expected) in
            [("", 60_000), ("1", 60_000), ("3", 86_400_000), ("5m", 300_000), ("2s", 2_000)]
        {
            match filled(kind.clone(), &["zed", "", "", typed]).submit().as_deref() {
                Some([Action::Timeout(request)]) => {
                    assert_eq!(request.duration_ms, Some(expected), "{typed}");
                }
                other => panic!("{typed}: {other:?}"),
            }
        }
        let mut form = filled(kind, &["zed", "", "", "4"]);
        assert_eq!((form.submit(), form.current), (None, 3), "there are three");
    }

    #[test]
    fn a_shadow_ban_may_be_of_one_stream() {
        let shadow = |stream: &str| filled(FormKind::Shadow, &["zed", "", stream, "7d"]).submit();
        let one = |stream_id| {
            let user = UserRef("zed".into());
            let duration_ms = Some(604_800_000);
            vec![Action::Shadow(ShadowRequest { user, stream_id, note: None, duration_ms })]
        };
        assert_eq!(shadow(""), Some(one(None)));
        assert_eq!(shadow("7"), Some(one(Some(StreamId(7)))));
        assert_eq!(shadow("seven"), None);
    }

    #[test]
    fn a_filled_form_becomes_its_request() {
        let ban = filled(FormKind::Ban, &[" troll42 ", "", " see ticket 7", "7d"]).submit();
        let expected = SanctionRequest {
            stream_id: None,
            user: UserRef("troll42".into()),
            reason: None,
            note: Some("see ticket 7".into()),
            duration_ms: Some(604_800_000),
        };
        assert_eq!(ban, Some(vec![Action::Ban(expected.clone())]));
        let timeout = filled(timeout(&[]), &["troll42", "", "", ""]).submit();
        let expected = SanctionRequest { duration_ms: Some(600_000), note: None, ..expected };
        assert_eq!(timeout, Some(vec![Action::Timeout(expected)]));

        let kind = FormKind::Throttle { stream_id: StreamId(7), title: String::new() };
        let rate = |values: &[&str]| match filled(kind.clone(), values).submit().as_deref() {
            Some([Action::Throttle(request)]) => (request.sample_rate, request.for_ms),
            other => panic!("{other:?}"),
        };
        assert_eq!(rate(&["Auto"]), (None, None));
        assert_eq!(rate(&["10%"]), (SampleRate::from_share(0.1), None));
        assert_eq!(rate(&["10%", "2m"]), (SampleRate::from_share(0.1), Some(120_000)));
        let mut form = filled(kind, &["auto", "2m"]);
        assert_eq!((form.submit(), form.current), (None, 1));
    }

    #[test]
    fn a_form_about_marked_users_acts_on_each() {
        let users = ["4711", "902"].map(|user| UserRef(user.to_owned()));
        let mut form = Form::about(timeout(&[]), &users);
        form.current = 0;
        form.edit(Edit::Push('x'));
        let actions = form.submit().unwrap();
        let named: Vec<_> = actions
            .iter()
            .map(|action| match action {
                Action::Timeout(request) => request.user.0.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(named, ["4711", "902"]);
        let one = Form::about(FormKind::Ban, &users[..1]);
        assert_eq!((one.fields[0].value.as_str(), one.current), ("4711", 1));
    }

    #[test]
    fn an_invalid_field_becomes_the_current_one() {
        let mut form = filled(FormKind::Ban, &["", "", "", "7d"]);
        assert_eq!(form.submit(), None);
        assert_eq!((form.current, form.error.is_some()), (0, true));
        let mut form = filled(FormKind::Ban, &["ann", "", "", "soon"]);
        assert_eq!(form.submit(), None);
        assert_eq!(form.current, 3);
        assert!(form.error.as_ref().unwrap().contains("soon"));
        form.edit(Edit::Clear);
        assert_eq!(form.error, None);
    }

    #[test]
    fn lines_are_edited_at_the_end_and_bounded() {
        let mut line = "two words".to_owned();
        Edit::DeleteWord.apply(&mut line);
        assert_eq!(line, "two ");
        Edit::DeleteWord.apply(&mut line);
        assert_eq!(line, "");
        Edit::Backspace.apply(&mut line);
        for _ in 0..1_000 {
            Edit::Push('é').apply(&mut line);
        }
        Edit::Push('\u{1b}').apply(&mut line);
        assert_eq!(line.chars().count(), MAX_LINE_CHARS);
    }
}
