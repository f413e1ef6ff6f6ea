//! Rows of events and of operators' changes, on one time line; and of alerts.

use crate::protocol::admin::AuditEntry;
use crate::protocol::filter::{self, Kind, Value};
use crate::tui::feed::{Alarm, Happening, Subject};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Health, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: false, rank, meaning: "" }
}

pub(crate) const EVENTS: &[Column] = &[
    Column { meaning: "time, UTC", ..column("time", "age", 8, 0) },
    column("", "", 1, 0),
    Column {
        meaning: "alert, breaker, node, stream, throttle: seen by this console; audit: an \
                  operator's act",
        ..column("kind", "kind", 9, 1)
    },
    Column { meaning: "what or who", ..column("subject", "subject", 18, 2) },
    column("what", "what", 0, 0),
];

/// A happening or an act.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EventRow<'a> {
    /// With its number.
    Happening(u64, &'a Happening, u64),
    Act(&'a AuditEntry, u64),
}

impl EventRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("age", Kind::Duration),
        filter::Column::new("kind", Kind::Text),
        filter::Column::new("subject", Kind::Text),
        filter::Column::new("what", Kind::Text),
    ];

    pub(crate) fn at_ms(&self) -> u64 {
        match self {
            Self::Happening(_, happening, _) => happening.at_ms,
            Self::Act(entry, _) => entry.at,
        }
    }

    fn now_ms(&self) -> u64 {
        match self {
            Self::Happening(.., now_ms) | Self::Act(_, now_ms) => *now_ms,
        }
    }

    pub(crate) fn health(&self) -> Health {
        match self {
            Self::Happening(_, happening, _) => happening.health,
            Self::Act(..) => Health::Idle,
        }
    }

    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Happening(_, happening, _) => &happening.kind,
            Self::Act(..) => "audit",
        }
    }

    pub(crate) fn subject(&self) -> &str {
        match self {
            Self::Happening(_, happening, _) => &happening.name,
            Self::Act(entry, _) => &entry.actor,
        }
    }

    pub(crate) fn what(&self) -> String {
        match self {
            Self::Happening(_, happening, _) => happening.text.clone(),
            Self::Act(AuditEntry { audit_id, action, target, detail, .. }, _) => {
                format!("{action} {target} {detail} (audit {audit_id})")
            }
        }
    }

    /// Returns what opens when the row is chosen.
    pub(crate) fn opens(&self) -> Option<&Subject> {
        match self {
            Self::Happening(_, happening, _) => Some(&happening.subject),
            Self::Act(..) => None,
        }
    }
}

impl filter::Row for EventRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "age" => Value::count(self.now_ms().saturating_sub(self.at_ms())),
            "kind" => self.kind().into(),
            "subject" => self.subject().into(),
            "what" => self.what().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.kind());
        visit(self.subject());
        visit(&self.what());
    }
}

impl Record for EventRow<'_> {
    fn key(&self) -> RowKey {
        match self {
            Self::Happening(number, ..) => RowKey::Numbered(*number),
            Self::Act(entry, _) => RowKey::Named(format!("audit {}", entry.audit_id)),
        }
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "time" => Cell::faint(figures::clock(self.at_ms())),
            "" if self.kind() == "audit" => Cell::new("·", Tone::Key),
            "" => Cell::mark(self.health()),
            "kind" => Cell::faint(self.kind()),
            "subject" => Cell::text(self.subject()),
            "what" => Cell::text(self.what()),
            _ => Cell::default(),
        }
    }
}

pub(crate) const ALARMS: &[Column] = &[
    column("", "", 1, 0),
    Column { right: true, meaning: "time since it began", ..column("since", "", 7, 0) },
    column("what", "what", 0, 0),
];

/// Something that is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AlarmRow<'a> {
    pub(crate) alarm: &'a Alarm,
    pub(crate) now_ms: u64,
}

impl AlarmRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] =
        &[filter::Column::new("rule", Kind::Text), filter::Column::new("what", Kind::Text)];
}

impl filter::Row for AlarmRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "rule" => Some(self.alarm.rule.as_str().into()),
            "what" => Some(self.alarm.text.as_str().into()),
            _ => None,
        }
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.alarm.rule);
        visit(&self.alarm.text);
    }
}

impl Record for AlarmRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Named(self.alarm.key())
    }

    fn cell(&self, column: &str) -> Cell {
        let health = self.alarm.severity.health();
        match column {
            "" => Cell::mark(health),
            "since" => Cell::faint(figures::age(self.now_ms.saturating_sub(self.alarm.since_ms))),
            "what" => Cell::new(self.alarm.sentences(), health.tone()),
            _ => Cell::default(),
        }
    }
}
