//! The prompts of the console: a few lines of text that become one action.

use crate::protocol::StreamId;
use crate::protocol::admin::{SanctionRequest, ThrottleRequest, UserRef, UserRequest};
use crate::protocol::quantity::{parse_duration, parse_share};

/// Characters a line takes; more than any name or reason has.
const MAX_LINE_CHARS: usize = 200;

/// Something to be done through the admin socket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Ban(SanctionRequest),
    Timeout(SanctionRequest),
    Kick(UserRequest),
    Unban(UserRequest),
    Throttle(ThrottleRequest),
}

/// What a form is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Ban,
    Timeout,
    Kick,
    Unban,
    Throttle { stream_id: StreamId, title: String },
}

/// One line to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) hint: &'static str,
}

/// A form that is being filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) purpose: Purpose,
    pub(super) fields: Vec<Field>,
    /// The field that takes keys.
    pub(super) current: usize,
    /// What was wrong when it was last submitted.
    pub(super) error: Option<String>,
}

const USER: (&str, &str) = ("user", "id or name");
const REASON: (&str, &str) = ("reason", "optional, for the audit log");

impl Form {
    pub(super) fn new(purpose: Purpose) -> Self {
        let lines: &[(&'static str, &'static str)] = match &purpose {
            Purpose::Ban => &[USER, REASON, ("for", "10m, 7d; empty is for good")],
            Purpose::Timeout => &[USER, REASON, ("for", "1s to 30d; empty is 10m")],
            Purpose::Kick | Purpose::Unban => &[USER, REASON],
            Purpose::Throttle { .. } => &[("show", "auto, all, 10%, 0.05, none")],
        };
        let fields = lines
            .iter()
            .map(|&(label, hint)| Field { label, value: String::new(), hint })
            .collect();
        Self { purpose, fields, current: 0, error: None }
    }

    pub(super) fn title(&self) -> String {
        match &self.purpose {
            Purpose::Ban => "ban: disconnect and keep out".to_owned(),
            Purpose::Timeout => "timeout: may watch but not comment".to_owned(),
            Purpose::Kick => "kick: disconnect, may come back".to_owned(),
            Purpose::Unban => "unban: lift ban and timeout".to_owned(),
            Purpose::Throttle { stream_id, title } => {
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

    /// The action, or what is wrong with the form; the field at fault becomes the current one.
    pub(super) fn submit(&mut self) -> Option<Action> {
        match self.read() {
            Ok(action) => Some(action),
            Err((field, error)) => {
                self.current = field;
                self.error = Some(error);
                None
            }
        }
    }

    fn read(&self) -> Result<Action, (usize, String)> {
        let value = |at: usize| self.fields.get(at).map_or("", |field| field.value.trim());
        if let Purpose::Throttle { stream_id, .. } = self.purpose {
            let sample_rate = match value(0) {
                "" => return Err((0, "write auto, or a share such as 10%".to_owned())),
                text if text.eq_ignore_ascii_case("auto") => None,
                text => Some(parse_share(text).map_err(|error| (0, error))?),
            };
            return Ok(Action::Throttle(ThrottleRequest { stream_id, sample_rate }));
        }
        if value(0).is_empty() {
            return Err((0, "whom? a user id or a name".to_owned()));
        }
        let user = UserRef(value(0).to_owned());
        let reason = Some(value(1).to_owned()).filter(|reason| !reason.is_empty());
        let duration_ms = || match value(2) {
            "" => Ok(None),
            text => {
                let span = parse_duration(text).map_err(|error| (2, error))?;
                Ok(Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
            }
        };
        Ok(match self.purpose {
            Purpose::Timeout => {
                let duration_ms = Some(duration_ms()?.unwrap_or(600_000));
                Action::Timeout(SanctionRequest { user, reason, duration_ms })
            }
            Purpose::Kick => Action::Kick(UserRequest { user, reason }),
            Purpose::Unban => Action::Unban(UserRequest { user, reason }),
            Purpose::Ban | Purpose::Throttle { .. } => {
                Action::Ban(SanctionRequest { user, reason, duration_ms: duration_ms()? })
            }
        })
    }
}

/// A change to a line of text, always at its end.
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

    fn filled(purpose: Purpose, values: &[&str]) -> Form {
        let mut form = Form::new(purpose);
        for (field, value) in form.fields.iter_mut().zip(values) {
            field.value = (*value).to_owned();
        }
        form
    }

    #[test]
    fn a_filled_form_is_the_request_it_stands_for() {
        let ban = filled(Purpose::Ban, &[" troll42 ", "", "7d"]).submit();
        let expected = SanctionRequest {
            user: UserRef("troll42".into()),
            reason: None,
            duration_ms: Some(604_800_000),
        };
        assert_eq!(ban, Some(Action::Ban(expected.clone())));
        let timeout = filled(Purpose::Timeout, &["troll42", "", ""]).submit();
        let expected = SanctionRequest { duration_ms: Some(600_000), ..expected };
        assert_eq!(timeout, Some(Action::Timeout(expected)));

        let purpose = Purpose::Throttle { stream_id: StreamId(7), title: String::new() };
        let rate = |text| match filled(purpose.clone(), &[text]).submit() {
            Some(Action::Throttle(request)) => request.sample_rate,
            other => panic!("{other:?}"),
        };
        assert_eq!(rate("Auto"), None);
        assert_eq!(rate("10%"), SampleRate::from_share(0.1));
    }

    #[test]
    fn a_wrong_field_is_named_and_becomes_the_current_one() {
        let mut form = filled(Purpose::Ban, &["", "", "7d"]);
        assert_eq!(form.submit(), None);
        assert_eq!((form.current, form.error.is_some()), (0, true));
        let mut form = filled(Purpose::Ban, &["ann", "", "soon"]);
        assert_eq!(form.submit(), None);
        assert_eq!(form.current, 2);
        assert!(form.error.as_ref().unwrap().contains("soon"));
        form.edit(Edit::Clear);
        assert_eq!(form.error, None);
    }

    #[test]
    fn lines_are_edited_at_their_end_and_bounded() {
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
