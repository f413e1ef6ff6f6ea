//! The state of the console. Nothing here waits, reads a clock or draws, so the same events always
//! give the same screen.

mod contact;
mod contexts;
mod listing;
mod lock;
mod mode;
mod places;
mod replay;
mod saved;
mod session;
mod side;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::act::{Action, UndoEntry, UndoList};
use super::commands::Keymap;
use super::contexts::ContextEntry;
use super::feed::{Feed, Moment, Subject};
use super::own_alerts::OwnAlerts;
use super::table::TableState;
use super::theme::ThemeName;
use crate::protocol::admin::{
    AdminRole, Alert, EventItem, PreviewRequest, Session, TimelineAnswer, TopSnapshot,
};

pub(crate) use lock::{Lock, READ_ONLY};
pub(crate) use mode::{Mode, Notice, Palette};
pub(crate) use places::{Panel, Place, View};
pub(crate) use replay::{Replay, Seek};
pub(crate) use session::ClusterLabel;
pub(crate) use side::{Needs, ReadTerms, Side, Tail};

/// Lengths of the charts, in milliseconds.
const WINDOWS_MS: [u64; 4] = [60_000, 300_000, 900_000, 3_600_000];

/// From this size on, in columns and rows, what is wrong, what waits for review and what happened
/// stay beside every view.
pub(crate) const RAIL_FROM: (u16, u16) = (180, 30);
/// The answer to a time that cannot be gone back to.
pub(crate) const NOT_REMEMBERED: &str = "this console does not remember that time";

/// The state of the connection to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connection {
    Live,
    Lost {
        why: String,
        retry_in: Duration,
    },
    /// The connection is open, but no snapshot has come for several intervals.
    Silent,
}

/// The moment that the views show.
#[derive(Debug, Clone)]
enum Viewpoint {
    Live,
    Paused(Arc<Moment>),
    Past(Arc<Moment>),
}

/// An effect of a key outside the state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Quit,
    Suspend,
    Redraw,
    /// Ask the daemon for the effect of the act that the operator is asked about.
    Preview(PreviewRequest),
    Run(Vec<Action>),
    /// Run what takes an act back. If that may succeed later, [`UndoList::put_back`] keeps it.
    TakeBack(UndoEntry),
    Copy(String),
    Save,
    /// Attach to the daemon of the context with this name.
    Attach(String),
    /// End the attempt to attach to another daemon.
    CancelAttaching,
}

/// The whole state of the console.
#[derive(Debug)]
pub(crate) struct Console {
    feed: Feed,
    viewpoint: Viewpoint,
    replay: Option<Replay>,
    pub(crate) connection: Connection,
    /// When the latest snapshot came, by `clock_ms`; `None` before the first.
    snapshot_came_ms: Option<u64>,
    /// The time without a snapshot after which contact is lost, in milliseconds.
    contact_timeout_ms: u64,
    pub(crate) keymap: Keymap,
    pub(crate) theme: ThemeName,
    place: Place,
    previous: Place,
    focus: BTreeMap<View, usize>,
    tables: BTreeMap<Panel, TableState>,
    pub(crate) mode: Mode,
    pub(crate) notice: Option<Notice>,
    pub(crate) undo: UndoList,
    pub(crate) lock: Lock,
    /// `None` until the daemon has said it.
    session: Option<Session>,
    /// The context that names the daemon, if one does.
    context: Option<ContextEntry>,
    /// The contexts that can be attached to, or why they are not known.
    contexts: Result<Vec<ContextEntry>, String>,
    /// The context that is being attached to.
    attaching: Option<String>,
    /// Acts cannot be unlocked, whatever the context says.
    read_only: bool,
    pub(crate) side: Side,
    pub(crate) veiled: bool,
    pub(crate) own_alerts: OwnAlerts,
    /// Own alerts that came true and were not told yet.
    raised: Vec<String>,
    /// Whether the screen has room for a rail beside the views.
    has_rail: bool,
    window: usize,
    /// The least time between two frames that no key asked for, while the link to the terminal is
    /// slow; `None` while it is not.
    pub(crate) slow_link: Option<Duration>,
    /// Milliseconds since the console started.
    pub(crate) clock_ms: u64,
}

impl Console {
    pub(crate) fn new(keymap: Keymap, theme: ThemeName, read_only: bool) -> Self {
        Self {
            feed: Feed::default(),
            viewpoint: Viewpoint::Live,
            replay: None,
            connection: Connection::Live,
            snapshot_came_ms: None,
            contact_timeout_ms: contact::MIN_TIMEOUT_MS,
            keymap,
            theme,
            place: Place::View(View::Overview),
            previous: Place::View(View::Streams),
            focus: BTreeMap::new(),
            tables: Panel::ALL.into_iter().map(|panel| (panel, panel.initial_state())).collect(),
            mode: Mode::Watching,
            notice: None,
            undo: UndoList::default(),
            lock: Lock::new(read_only),
            session: None,
            context: None,
            contexts: Ok(Vec::new()),
            attaching: None,
            read_only,
            side: Side::default(),
            veiled: false,
            own_alerts: OwnAlerts::default(),
            raised: Vec::new(),
            has_rail: false,
            window: 2,
            slow_link: None,
            clock_ms: 0,
        }
    }

    pub(crate) fn add_snapshot(&mut self, snapshot: TopSnapshot) {
        self.feed.add(snapshot);
        self.connection = Connection::Live;
        self.snapshot_came_ms = Some(self.clock_ms);
        let Some(latest) = self.feed.latest() else { return };
        let told = self.own_alerts.observe(latest);
        if !told.is_empty() {
            self.notice = Some(Notice::Failed(format!("alert: {}", told.join("; "))));
            self.raised = told;
        }
    }

    /// Returns the own alerts that came true since the last call, as one text.
    pub(crate) fn take_raised(&mut self) -> Option<String> {
        let raised = std::mem::take(&mut self.raised);
        (!raised.is_empty()).then(|| raised.join("; "))
    }

    /// Notes the size of the screen, which decides what is fetched for it.
    pub(crate) fn set_size(&mut self, width: u16, height: u16) {
        self.has_rail = width >= RAIL_FROM.0 && height >= RAIL_FROM.1;
    }

    pub(crate) fn has_rail(&self) -> bool {
        self.has_rail && self.view() != View::Overview
    }

    /// Fills the charts with the past as the daemon kept it.
    pub(crate) fn fill_past(&mut self, answer: &TimelineAnswer) {
        self.feed.fill(answer);
    }

    /// Takes what the daemon kept of the time before the first moment.
    pub(crate) fn fill_events(&mut self, events: &[EventItem]) {
        self.feed.fill_events(events);
    }

    /// Takes the alerts of the daemon; `None` if it does not tell them.
    pub(crate) fn set_alerts(&mut self, alerts: Option<Vec<Alert>>) {
        self.feed.set_alerts(alerts);
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Returns the moment on the screen: the latest, or the one that was gone back to.
    pub(crate) fn moment(&self) -> Option<&Arc<Moment>> {
        match &self.viewpoint {
            Viewpoint::Live => self.feed.latest(),
            Viewpoint::Paused(moment) | Viewpoint::Past(moment) => Some(moment),
        }
    }

    /// Returns the time of the moment on the screen.
    pub(crate) fn now_ms(&self) -> u64 {
        self.moment().map_or(0, |moment| moment.at_ms)
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.viewpoint, Viewpoint::Live) && self.replay.is_none()
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.viewpoint, Viewpoint::Paused(_))
    }

    /// Returns the time of the latest moment there is.
    pub(crate) fn latest_ms(&self) -> u64 {
        let live = || self.feed.latest().map_or(0, |latest| latest.at_ms);
        self.replay.as_ref().map_or_else(live, |replay| replay.last_ms)
    }

    /// Returns how long ago the moment on the screen was, if it is in the past.
    pub(crate) fn ago_ms(&self) -> Option<u64> {
        match (&self.viewpoint, self.feed.latest()) {
            (Viewpoint::Past(moment), Some(latest)) => Some(latest.at_ms - moment.at_ms),
            _ => None,
        }
    }

    pub(crate) fn toggle_pause(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.is_playing = !replay.is_playing;
            return;
        }
        self.viewpoint = match (&self.viewpoint, self.feed.latest()) {
            (Viewpoint::Live, Some(latest)) => Viewpoint::Paused(latest.clone()),
            _ => Viewpoint::Live,
        };
    }

    /// Returns to now; in a recording, to its end.
    pub(crate) fn go_live(&mut self) {
        if let Some(last_ms) = self.replay.as_ref().map(|replay| replay.last_ms) {
            self.seek(Seek::To(last_ms));
            return;
        }
        self.viewpoint = Viewpoint::Live;
    }

    /// Goes to the moment that was the latest at a time. Returns whether there is one.
    pub(crate) fn go_to(&mut self, at_ms: u64) -> bool {
        if let Some(known) = self.seek(Seek::To(at_ms)) {
            return known;
        }
        if self.feed.latest().is_none_or(|latest| latest.at_ms <= at_ms) {
            self.viewpoint = Viewpoint::Live;
            return true;
        }
        // A second is shown that has only begun when the console was started.
        let remembered = self.feed.first_ms().is_some_and(|first| first < at_ms + 1_000);
        match self.feed.at(at_ms).filter(|_| remembered) {
            Some(moment) => {
                self.viewpoint = Viewpoint::Past(moment);
                true
            }
            None => false,
        }
    }

    /// Goes back or forward by a number of steps; a step is a sixtieth of the window, and at least
    /// one moment.
    pub(crate) fn step_time(&mut self, steps: i64) {
        let now = self.now_ms();
        let step_ms = (self.window_ms() / 60).max(1_000) as i64;
        if self.seek(Seek::By(steps.saturating_mul(step_ms))).is_some() {
            return;
        }
        let wanted = now.saturating_add_signed(steps * step_ms);
        let neighbour = self.feed.neighbour(now, steps > 0);
        let to = match (neighbour, steps > 0) {
            (Some(neighbour), true) => wanted.max(neighbour),
            (Some(neighbour), false) => wanted.min(neighbour),
            (None, true) => u64::MAX,
            (None, false) => return,
        };
        self.go_to(to);
    }

    /// Returns the length of the charts.
    pub(crate) fn window_ms(&self) -> u64 {
        WINDOWS_MS[self.window]
    }

    pub(crate) fn next_window(&mut self) {
        self.window = (self.window + 1) % WINDOWS_MS.len();
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn view(&self) -> View {
        self.place.view()
    }

    pub(crate) fn go(&mut self, place: Place) {
        if place != self.place {
            self.previous = std::mem::replace(&mut self.place, place);
        }
        if let (Place::Stream(stream_id), tail) = (&self.place, &self.side.tail)
            && tail.as_ref().is_none_or(|tail| tail.stream_id != *stream_id)
        {
            self.side.tail = Some(Tail::new(*stream_id));
            self.side.talkers = None;
            self.tables.insert(Panel::Comments, Panel::Comments.initial_state());
            self.tables.insert(Panel::Talkers, Panel::Talkers.initial_state());
        }
    }

    pub(crate) fn go_to_previous(&mut self) {
        self.go(self.previous.clone());
    }

    /// Opens what an alarm or a happening is about.
    pub(crate) fn open_subject(&mut self, subject: &Subject) {
        match subject {
            Subject::Cluster => self.go(Place::View(View::Cluster)),
            Subject::Node(node) => self.go(Place::Node(node.clone())),
            Subject::Stream(stream_id) => self.go(Place::Stream(*stream_id)),
            Subject::Engine(_) => self.go(Place::View(View::Engines)),
        }
    }

    /// Returns the panel that keys act on.
    pub(crate) fn panel(&self) -> Panel {
        let panels = self.place.panels();
        let at = self.focus.get(&self.place.view()).copied().unwrap_or(0);
        panels[at.min(panels.len() - 1)]
    }

    pub(crate) fn step_panel(&mut self, forward: bool) {
        let panels = self.place.panels().len();
        let at = self.focus.entry(self.place.view()).or_insert(0);
        *at = if forward { (*at + 1) % panels } else { (*at + panels - 1) % panels };
    }

    /// Makes a panel of the view the one that keys act on.
    pub(crate) fn focus_on(&mut self, panel: Panel) {
        if let Some(at) = self.place.panels().iter().position(|known| *known == panel) {
            self.focus.insert(self.place.view(), at);
        }
    }

    pub(crate) fn table(&self, panel: Panel) -> &TableState {
        // The map has every panel from the start.
        &self.tables[&panel]
    }

    pub(crate) fn table_mut(&mut self, panel: Panel) -> &mut TableState {
        self.tables.entry(panel).or_default()
    }

    /// Returns what the view needs besides snapshots.
    pub(crate) fn needs(&self) -> Needs {
        let reviews = self.view() == View::Moderation || self.has_rail();
        Needs {
            reviews,
            shadows: reviews || matches!(self.place, Place::Stream(_)),
            audit: matches!(self.view(), View::Events | View::Moderation)
                || self.shows_fixed_share(),
            tail: match self.place {
                Place::Stream(stream_id) => Some(stream_id),
                _ => None,
            },
            terms: match &self.mode {
                Mode::Palette(line) => line.stream_of_terms(),
                _ => None,
            },
        }
    }

    /// Returns whether a stream is opened whose share somebody fixed. The audit log tells who.
    fn shows_fixed_share(&self) -> bool {
        let Place::Stream(stream_id) = self.place else { return false };
        let stream = self.moment().and_then(|moment| moment.stream(stream_id));
        stream.is_some_and(|stream| stream.throttle_override.is_some())
    }

    /// Returns whether no key can act now, also after it was tried to unlock acts.
    pub(crate) fn cannot_act(&self) -> bool {
        !self.is_live()
            || self.turned_away().is_some()
            || self.lock.is_read_only()
            || self.only_reads()
    }

    /// Returns why acts are off, if they are.
    pub(crate) fn acts_off(&self) -> Option<String> {
        if self.replay.is_some() {
            return Some("this is a recording: acts are off".to_owned());
        }
        if let Some(why) = self.turned_away() {
            return Some(why);
        }
        if !self.is_live() {
            let key = self.keymap.first(super::commands::Command::Live);
            return Some(format!(
                "acts are off while the screen is not live; {key} returns to now"
            ));
        }
        if let Some(why) = self.refused_role(AdminRole::Moderator) {
            return Some(why);
        }
        let key = self.keymap.first(super::commands::Command::Unlock);
        self.lock.refusal(self.clock_ms, &key)
    }
}
