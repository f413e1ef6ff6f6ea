//! Forms: a few lines of text that become an action.

use crate::protocol::StreamId;
use crate::protocol::admin::{SanctionRequest, ThrottleRequest, UserRef, UserRequest};
use crate::protocol::quantity::{parse_duration, parse_share};

/// Maximum length of a line. Names and reasons are shorter.
const MAX_LINE_CHARS: usize = 200;

/// A change to request through the admin socket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Ban(SanctionRequest),
    Timeout(SanctionRequest),
    Kick(UserRequest),
    Unban(UserRequest),
    Throttle(ThrottleRequest),
}

/// The kind of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FormKind {
    Ban,
    Timeout,
    Kick,
    Unban,
    Throttle { stream_id: StreamId, title: String },
}

/// One line of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) hint: &'static str,
}

/// A form with the values typed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) kind: FormKind,
    pub(super) fields: Vec<Field>,
    /// Index of the field that receives keys.
    pub(super) current: usize,
    /// The error of the latest submission.
    pub(super) error: Option<String>,
}

const USER: (&str, &str) = ("user", "id or name");
const REASON: (&str, &str) = ("reason", "optional, shown to the user");
const NOTE: (&str, &str) = ("note", "optional, for the audit log");

impl Form {
    pub(super) fn new(kind: FormKind) -> Self {
        let lines: &[(&'static str, &'static str)] = match &kind {
            FormKind::Ban => &[USER, REASON, NOTE, ("for", "10m, 7d; empty is permanent")],
            FormKind::Timeout => &[USER, REASON, NOTE, ("for", "1s to 30d; empty is 10m")],
            FormKind::Kick | FormKind::Unban => &[USER, NOTE],
            FormKind::Throttle { .. } => &[("show", "auto, all, 10%, 0.05, none")],
        };
        let fields = lines
            .iter()
            .map(|&(label, hint)| Field { label, value: String::new(), hint })
            .collect();
        Self { kind, fields, current: 0, error: None }
    }

    pub(super) fn title(&self) -> String {
        match &self.kind {
            FormKind::Ban => "ban: disconnect and keep out".to_owned(),
            FormKind::Timeout => "timeout: may watch but not comment".to_owned(),
            FormKind::Kick => "kick: disconnect, may reconnect".to_owned(),
            FormKind::Unban => "unban: lift ban and timeout".to_owned(),
            FormKind::Throttle { stream_id, title } => {
                format!("throttle stream {stream_id} {title}")
            }
        }
    }

    pub(super) fn next(&mut self) {
        self.current = (self.current + 1) % self.fields.len();
    }

    pub(super) fn previous(&mut self) {
        self.current = (self.current + self.fields.len() - 1) % self.fields.len();
    }

    pub(super) fn is_last(&self) -> bool {
        self.current + 1 == self.fields.len()
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        edit.apply(&mut self.fields[self.current].value);
        self.error = None;
    }

    /// Returns the action. If a value is invalid, stores the error, makes that field the current
    /// one, and returns `None`.
    pub(super) fn submit(&mut self) -> Option<Action> {
        match self.parse() {
            Ok(action) => Some(action),
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
        if let FormKind::Throttle { stream_id, .. } = self.kind {
            let sample_rate = match value(0) {
                "" => return Err((0, "enter auto, or a share such as 10%".to_owned())),
                text if text.eq_ignore_ascii_case("auto") => None,
                text => Some(parse_share(text).map_err(|error| (0, error))?),
            };
            return Ok(Action::Throttle(ThrottleRequest { stream_id, sample_rate }));
        }
        if value(0).is_empty() {
            return Err((0, "enter a user id or a name".to_owned()));
        }
        let user = UserRef(value(0).to_owned());
        let optional = |at| Some(value(at).to_owned()).filter(|text: &String| !text.is_empty());
        let duration_ms = || match value(3) {
            "" => Ok(None),
            text => {
                let duration = parse_duration(text).map_err(|error| (3, error))?;
                Ok(Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
            }
        };
        Ok(match self.kind {
            FormKind::Timeout => {
                let duration_ms = Some(duration_ms()?.unwrap_or(600_000));
                let reason = optional(1);
                let note = optional(2);
                Action::Timeout(SanctionRequest { user, reason, note, duration_ms })
            }
            FormKind::Kick => Action::Kick(UserRequest { user, note: optional(1) }),
            FormKind::Unban => Action::Unban(UserRequest { user, note: optional(1) }),
            FormKind::Ban | FormKind::Throttle { .. } => {
                let reason = optional(1);
                let note = optional(2);
                let duration_ms = duration_ms()?;
                Action::Ban(SanctionRequest { user, reason, note, duration_ms })
            }
        })
    }
}

/// A change at the end of a line of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    Push(char),
    Backspace,
    DeleteWord,
    Clear,
}

impl Edit {
    pub(super) fn apply(self, line: &mut String) {
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

    #[test]
    fn a_filled_form_becomes_its_request() {
        let ban = filled(FormKind::Ban, &[" troll42 ", "", " see ticket 7", "7d"]).submit();
        let expected = SanctionRequest {
            user: UserRef("troll42".into()),
            reason: None,
            note: Some("see ticket 7".into()),
            duration_ms: Some(604_800_000),
        };
        assert_eq!(ban, Some(Action::Ban(expected.clone())));
        let timeout = filled(FormKind::Timeout, &["troll42", "", "", ""]).submit();
        let expected = SanctionRequest { duration_ms: Some(600_000), note: None, ..expected };
        assert_eq!(timeout, Some(Action::Timeout(expected)));

        let kind = FormKind::Throttle { stream_id: StreamId(7), title: String::new() };
        let rate = |text| match filled(kind.clone(), &[text]).submit() {
            Some(Action::Throttle(request)) => request.sample_rate,
            other => panic!("{other:?}"),
        };
        assert_eq!(rate("Auto"), None);
        assert_eq!(rate("10%"), SampleRate::from_share(0.1));
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
