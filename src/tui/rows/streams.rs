//! Streams.

use crate::protocol::admin::StreamStatus;
use crate::protocol::filter::{self, Columns as _, Value};
use crate::protocol::quantity::{show_rate, show_share};
use crate::protocol::stream::StreamState;
use crate::tui::feed::SeriesSet;
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Health, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: true, rank, meaning: "" }
}

/// The title is the last column: text of others then shifts nothing.
pub(crate) const STREAMS: &[Column] = &[
    Column {
        right: false,
        meaning: "✓ all is shown, · a share set by hand, ▲ less than all, ‖ not live",
        ..column("", "", 1, 0)
    },
    Column { meaning: "number of the stream", ..column("id", "id", 6, 0) },
    Column {
        meaning: "connections that watch, senders included, as viewers are told (registry)",
        ..column("viewers", "viewers", 7, 1)
    },
    Column {
        meaning: "accepted comments per second (comments_per_second)",
        ..column("in/s", "in", 6, 1)
    },
    Column {
        meaning: "comments per second that a viewer gets: in/s times the share",
        ..column("shown/s", "shown", 7, 1)
    },
    Column {
        meaning: "share of the comments that is shown (sample_rate × egress_share)",
        ..column("share", "share", 6, 2)
    },
    Column {
        right: false,
        meaning: "what sets the share: auto, its level, fixed by hand, egress",
        ..column("by whom", "by", 13, 3)
    },
    Column {
        meaning: "comments deleted since the start (deleted)",
        ..column("deleted", "deleted", 7, 6)
    },
    Column {
        meaning: "comments left out since the start (sampled_out, egress_sampled_out)",
        ..column("left out", "left_out", 8, 7)
    },
    Column { right: false, meaning: "scheduled, live or ended", ..column("state", "state", 9, 5) },
    Column {
        right: false,
        meaning: "in/s over ten minutes, against its own highest value",
        ..column("10 min", "", 10, 4)
    },
    Column { right: false, ..column("title", "title", 0, 1) },
];

/// A stream with its recent past.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamRow<'a> {
    pub(crate) status: &'a StreamStatus,
    pub(crate) series: &'a SeriesSet,
    pub(crate) now_ms: u64,
    pub(crate) veiled: bool,
}

impl StreamRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = StreamStatus::COLUMNS;

    pub(crate) fn health(&self) -> Health {
        let status = self.status;
        match status.state {
            StreamState::Scheduled | StreamState::Ended => Health::Idle,
            StreamState::Live if status.shown().is_all() => Health::Good,
            StreamState::Live => Health::Warn,
        }
    }
}

impl filter::Row for StreamRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        self.status.column(name)
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        self.status.texts(visit);
    }
}

impl Record for StreamRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Stream(self.status.stream_id)
    }

    fn cell(&self, column: &str) -> Cell {
        let status = self.status;
        let rate = status.comments_per_second;
        match column {
            "" if status.throttle_override.is_some() && status.egress_share.is_all() => {
                Cell::new("·", Tone::Key)
            }
            "" => Cell::mark(self.health()),
            "id" => Cell::text(status.stream_id.to_string()),
            "viewers" => Cell::figure(figures::count(status.viewers), status.viewers == 0),
            "in/s" => Cell::figure(show_rate(rate), rate < 0.05),
            "shown/s" => {
                let shown = status.shown_per_second();
                Cell::figure(show_rate(shown), shown < 0.05)
            }
            "share" => {
                let tone = if status.shown().is_all() { Tone::Text } else { Tone::Warn };
                Cell::new(show_share(status.shown()), tone)
            }
            "by whom" => Cell::faint(status.share_set_by()),
            "deleted" => Cell::figure(figures::count(status.deleted), status.deleted == 0),
            "left out" => {
                let left_out = status.sampled_out + status.egress_sampled_out;
                Cell::figure(figures::count(left_out), left_out == 0)
            }
            "state" => Cell::faint(status.state.as_str()),
            "10 min" => {
                let values = self.series.stream(status.stream_id, self.now_ms, 10);
                Cell::new(figures::spark(&values), Tone::Chart)
            }
            "title" => Cell::text(super::veil(&status.title, self.veiled)),
            _ => Cell::default(),
        }
    }
}
