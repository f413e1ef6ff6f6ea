//! The state of the console. Nothing here waits, reads a clock or draws, so the same events always
//! give the same screen.

use std::time::Duration;

use super::form::{Action, Form};
use super::history::SnapshotHistory;
use crate::protocol::StreamId;
use crate::protocol::admin::{StreamStatus, TopSnapshot};

/// The order of the streams table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    #[default]
    Rate,
    Viewers,
    SampledOut,
    Id,
    Title,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Viewers,
            Self::Viewers => Self::SampledOut,
            Self::SampledOut => Self::Id,
            Self::Id => Self::Title,
            Self::Title => Self::Rate,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "in/s",
            Self::Viewers => "viewers",
            Self::SampledOut => "sampled out",
            Self::Id => "id",
            Self::Title => "title",
        }
    }
}

/// The state of the connection to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Connection {
    Live,
    Lost { why: String, retry_in: Duration },
}

/// The part of the screen that keys act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Watching,
    Filtering,
    Form(Form),
    Details,
    Help,
}

/// The result of the latest action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    Running(String),
    Done(String),
    Failed(String),
}

/// An effect of a key outside the state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Quit,
    Suspend,
    Redraw,
    Run(Action),
}

/// The whole state of the console.
#[derive(Debug, Clone)]
pub(super) struct Console {
    live: SnapshotHistory,
    /// The history that is shown while paused.
    frozen: Option<Box<SnapshotHistory>>,
    pub(super) connection: Connection,
    pub(super) mode: Mode,
    pub(super) filter: String,
    pub(super) sort: Sort,
    pub(super) notice: Option<Notice>,
    selected: Option<StreamId>,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            live: SnapshotHistory::default(),
            frozen: None,
            connection: Connection::Live,
            mode: Mode::Watching,
            filter: String::new(),
            sort: Sort::default(),
            notice: None,
            selected: None,
        }
    }
}

impl Console {
    pub(super) fn add_snapshot(&mut self, snapshot: TopSnapshot) {
        self.live.add(snapshot);
        self.connection = Connection::Live;
    }

    pub(super) fn connection_lost(&mut self, why: String, retry_in: Duration) {
        self.live.add_gap();
        self.connection = Connection::Lost { why, retry_in };
    }

    /// The history on the screen: the live one, or the one frozen by a pause.
    pub(super) fn shown(&self) -> &SnapshotHistory {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn toggle_pause(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(Box::new(self.live.clone())),
        };
    }

    /// The streams that match the filter, in the chosen order.
    pub(super) fn streams(&self) -> Vec<&StreamStatus> {
        let history = self.shown();
        let all = history.latest().map_or(&[][..], |snapshot| &snapshot.streams);
        let mut streams: Vec<_> = all.iter().filter(|stream| self.matches_filter(stream)).collect();
        let sampled_out = |stream: &StreamStatus| history.sampled_out(stream.stream_id);
        streams.sort_by(|a, b| {
            let by_column = match self.sort {
                Sort::Rate => b.comments_per_second.total_cmp(&a.comments_per_second),
                Sort::Viewers => b.viewers.cmp(&a.viewers),
                Sort::SampledOut => {
                    sampled_out(b).unwrap_or(0.0).total_cmp(&sampled_out(a).unwrap_or(0.0))
                }
                Sort::Id => std::cmp::Ordering::Equal,
                Sort::Title => a.title.to_lowercase().cmp(&b.title.to_lowercase()),
            };
            by_column.then(a.stream_id.cmp(&b.stream_id))
        });
        streams
    }

    fn matches_filter(&self, stream: &StreamStatus) -> bool {
        let filter = self.filter.trim().to_lowercase();
        filter.is_empty()
            || stream.stream_id.to_string().starts_with(&filter)
            || stream.state.as_str() == filter
            || stream.title.to_lowercase().contains(&filter)
    }

    /// The selected stream and its index in [`Self::streams`]. If none is selected, or the selected
    /// one is no longer listed, that is the first stream.
    pub(super) fn selection(&self) -> Option<(usize, &StreamStatus)> {
        let streams = self.streams();
        let chosen = streams.iter().position(|stream| Some(stream.stream_id) == self.selected);
        let at = chosen.unwrap_or(0);
        streams.get(at).map(|stream| (at, *stream))
    }

    /// Moves the selection by a number of rows, and stops at both ends.
    pub(super) fn select(&mut self, rows: isize) {
        let Some((at, _)) = self.selection() else { return };
        let streams = self.streams();
        let to = at.saturating_add_signed(rows).min(streams.len() - 1);
        self.selected = Some(streams[to].stream_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::history::Metric;
    use crate::tui::sample_data::{busy, idle, snapshot};

    fn ids(console: &Console) -> Vec<u64> {
        console.streams().iter().map(|stream| stream.stream_id.0).collect()
    }

    #[test]
    fn pausing_freezes_the_screen_but_not_the_history() {
        let mut console = busy();
        let shown = console.shown().latest().cloned();
        let points = console.shown().chart(Metric::In).len();
        console.toggle_pause();
        for second in 61..70 {
            console.add_snapshot(snapshot(second));
        }
        assert_eq!(console.shown().latest().cloned(), shown);
        console.toggle_pause();
        assert_eq!(console.shown().chart(Metric::In).len(), points + 9);
    }

    #[test]
    fn a_lost_connection_is_shown_until_the_next_snapshot() {
        let mut console = busy();
        console.connection_lost("the daemon ended the stream".into(), Duration::from_millis(250));
        assert!(matches!(console.connection, Connection::Lost { .. }));
        assert!(console.shown().latest().is_some(), "the last known state stays on the screen");
        console.add_snapshot(idle(800));
        assert_eq!(console.connection, Connection::Live);
        assert_eq!(console.shown().restarts(), 1);
        assert_eq!(console.shown().rate(Metric::In), None);
    }

    #[test]
    fn streams_are_filtered_by_id_title_and_state() {
        let mut console = busy();
        assert_eq!(ids(&console).len(), 12);
        console.filter = "GRAND".into();
        assert_eq!(ids(&console), [7]);
        console.filter = "1".into();
        assert!(ids(&console).iter().all(|id| id.to_string().starts_with('1')));
        console.filter = "ended".into();
        assert!(console.streams().iter().all(|stream| stream.state.as_str() == "ended"));
        console.filter = "no such".into();
        assert_eq!(console.selection(), None);
        console.select(1);
    }

    #[test]
    fn the_selection_follows_its_stream_when_sorting() {
        let mut console = busy();
        console.sort = Sort::Id;
        console.select(3);
        let (_, chosen) = console.selection().unwrap();
        let chosen = chosen.stream_id;
        for _ in 0..5 {
            console.sort = console.sort.next();
            assert_eq!(console.selection().unwrap().1.stream_id, chosen);
        }
        console.select(-100);
        assert_eq!(console.selection().unwrap().0, 0);
        console.select(100);
        assert_eq!(console.selection().unwrap().0, 11);
    }
}
