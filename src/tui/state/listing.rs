//! The rows of each table, filtered and sorted as the operator set it, and what is selected.

use std::collections::HashSet;

use super::Console;
use super::places::Panel;
use crate::protocol::admin::{ReviewItem, Shadow, UserRef, short_actor};
use crate::protocol::text::alike_key;
use crate::protocol::{CommentId, StreamId};
use crate::tui::feed::Happening;
use crate::tui::rows::{
    AlarmRow, BusRow, CommentRow, DecisionRow, EventRow, GroupRow, NodeRow, OffenderRow, ReviewRow,
    StoreRow, StreamRow, TalkerRow, WorkerRow,
};
use crate::tui::state::Place;
use crate::tui::table::{Listing, Record, RowKey};

impl Console {
    fn list<R: Record>(&self, panel: Panel, rows: impl IntoIterator<Item = R>) -> Listing<R> {
        Listing::of(rows, panel.columns(), self.table(panel))
    }

    pub(crate) fn alarms(&self) -> Listing<AlarmRow<'_>> {
        let alarms = self.moment().map_or(&[][..], |moment| &moment.alarms);
        let now_ms = self.now_ms();
        self.list(Panel::Alarms, alarms.iter().map(|alarm| AlarmRow { alarm, now_ms }))
    }

    /// Returns the rows of [`Panel::Streams`] or [`Panel::Busiest`].
    pub(crate) fn streams(&self, panel: Panel) -> Listing<StreamRow<'_>> {
        let streams = self.moment().map_or(&[][..], |moment| &moment.snapshot.streams);
        let series = self.feed().series();
        let now_ms = self.now_ms();
        let veiled = self.veiled;
        let row = |status| StreamRow { status, series, now_ms, veiled };
        self.list(panel, streams.iter().map(row))
    }

    /// Returns the rows of [`Panel::Nodes`] or [`Panel::Fullest`].
    pub(crate) fn nodes(&self, panel: Panel) -> Listing<NodeRow<'_>> {
        let rows = self.moment().map_or_else(Vec::new, |moment| NodeRow::of(moment));
        self.list(panel, rows)
    }

    pub(crate) fn workers(&self) -> Listing<WorkerRow<'_>> {
        let Place::Node(node) = self.place() else { return self.list(Panel::Workers, []) };
        let Some(moment) = self.moment() else { return self.list(Panel::Workers, []) };
        let own = moment.snapshot.workers.iter().filter(|worker| worker.node == *node);
        let row = |status| WorkerRow { status, busy: moment.load(status) };
        self.list(Panel::Workers, own.map(row))
    }

    pub(crate) fn bus(&self) -> Listing<BusRow<'_>> {
        let servers = self.moment().map_or(&[][..], |moment| &moment.snapshot.bus);
        self.list(Panel::Bus, servers.iter().map(BusRow))
    }

    pub(crate) fn groups(&self) -> Listing<GroupRow<'_>> {
        let Some(moment) = self.moment() else { return self.list(Panel::Groups, []) };
        let row = |group| GroupRow { group, state: moment.lag_state(group) };
        self.list(Panel::Groups, moment.groups.iter().map(row))
    }

    pub(crate) fn stores(&self) -> Listing<StoreRow<'_>> {
        let snapshot = self.moment().map(|moment| &moment.snapshot);
        let mut rows = snapshot
            .map_or_else(Vec::new, |snapshot| StoreRow::of(&snapshot.breakers, &snapshot.stores));
        rows.sort_by_key(|row| std::cmp::Reverse(row.health()));
        self.list(Panel::Stores, rows)
    }

    pub(crate) fn reviews(&self) -> Listing<ReviewRow<'_>> {
        let now_ms = self.now_ms();
        let veiled = self.veiled;
        let row = |item| ReviewRow { item, now_ms, veiled };
        self.list(Panel::Reviews, self.side.reviews.iter().map(row))
    }

    /// Returns the latest decision on each comment.
    pub(crate) fn decisions(&self) -> Listing<DecisionRow<'_>> {
        let now_ms = self.now_ms();
        let veiled = self.veiled;
        let mut seen = HashSet::new();
        let latest = self.side.decisions.iter().filter(|made| seen.insert(made.comment_id));
        self.list(Panel::Decisions, latest.map(|made| DecisionRow { made, now_ms, veiled }))
    }

    pub(crate) fn offenders(&self) -> Listing<OffenderRow<'_>> {
        let now_ms = self.now_ms();
        let veiled = self.veiled;
        let row = |offender| OffenderRow { offender, now_ms, veiled };
        self.list(Panel::Offenders, self.side.offenders.iter().map(row))
    }

    /// Returns happenings and acts up to the moment on the screen, the newest first.
    pub(crate) fn events(&self) -> Listing<EventRow<'_>> {
        let now_ms = self.now_ms();
        let numbered = self.feed().numbered();
        let happenings = numbered.map(|(number, h)| EventRow::Happening(number, h, now_ms));
        let acts = self.side.audit.iter().map(|entry| EventRow::Act(entry, now_ms));
        let live = self.is_live();
        let mut rows: Vec<_> =
            happenings.chain(acts).filter(|row| live || row.at_ms() <= now_ms).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.at_ms()));
        self.list(Panel::Events, rows)
    }

    /// Returns the latest happenings up to the moment on the screen, the newest first.
    pub(crate) fn just_now(&self) -> impl Iterator<Item = &Happening> {
        let now_ms = self.now_ms();
        self.feed().happenings().iter().rev().filter(move |happening| happening.at_ms <= now_ms)
    }

    /// Returns the comments of the opened stream, the newest first.
    pub(crate) fn comments(&self) -> Listing<CommentRow<'_>> {
        let veiled = self.veiled;
        let comments = self.side.tail.iter().flat_map(|tail| tail.comments.iter().rev());
        let rows = comments.map(|(comment, state)| CommentRow { comment, state, veiled });
        self.list(Panel::Comments, rows)
    }

    pub(crate) fn talkers(&self) -> Listing<TalkerRow> {
        self.list(Panel::Talkers, self.side.talker_rows(self.veiled))
    }

    /// Returns the keys of a panel's rows in their order, and the index of the selected one.
    pub(crate) fn keys(&self, panel: Panel) -> (Vec<RowKey>, usize) {
        fn keys<R: Record>(listing: &Listing<R>) -> (Vec<RowKey>, usize) {
            (listing.rows.iter().map(Record::key).collect(), listing.selected)
        }
        match panel {
            Panel::Alarms => keys(&self.alarms()),
            Panel::Busiest | Panel::Streams => keys(&self.streams(panel)),
            Panel::Fullest | Panel::Nodes => keys(&self.nodes(panel)),
            Panel::Comments => keys(&self.comments()),
            Panel::Talkers => keys(&self.talkers()),
            Panel::Workers => keys(&self.workers()),
            Panel::Bus => keys(&self.bus()),
            Panel::Groups => keys(&self.groups()),
            Panel::Stores => keys(&self.stores()),
            Panel::Reviews => keys(&self.reviews()),
            Panel::Decisions => keys(&self.decisions()),
            Panel::Offenders => keys(&self.offenders()),
            Panel::Events => keys(&self.events()),
        }
    }

    /// Returns the key of the selected row of the focused panel.
    pub(crate) fn selected_key(&self) -> Option<RowKey> {
        let (keys, at) = self.keys(self.panel());
        keys.into_iter().nth(at)
    }

    /// Returns the selected row of the focused panel with all its texts, by the names of columns.
    pub(crate) fn selected_in_full(&self) -> Vec<(&'static str, String)> {
        fn cells<R: Record>(listing: &Listing<R>, panel: Panel) -> Vec<(&'static str, String)> {
            let Some(row) = listing.selection() else { return Vec::new() };
            let named = panel.columns().iter().filter(|column| !column.name.is_empty());
            let cells = named.map(|column| (column.name, row.cell(column.name).text));
            cells.filter(|(_, text)| !text.is_empty()).collect()
        }
        let panel = self.panel();
        let mut row = match panel {
            Panel::Alarms => cells(&self.alarms(), panel),
            Panel::Busiest | Panel::Streams => cells(&self.streams(panel), panel),
            Panel::Fullest | Panel::Nodes => cells(&self.nodes(panel), panel),
            Panel::Comments => cells(&self.comments(), panel),
            Panel::Talkers => cells(&self.talkers(), panel),
            Panel::Workers => cells(&self.workers(), panel),
            Panel::Bus => cells(&self.bus(), panel),
            Panel::Groups => cells(&self.groups(), panel),
            Panel::Stores => cells(&self.stores(), panel),
            Panel::Reviews => cells(&self.reviews(), panel),
            Panel::Decisions => cells(&self.decisions(), panel),
            Panel::Offenders => cells(&self.offenders(), panel),
            Panel::Events => cells(&self.events(), panel),
        };
        row.extend(self.shadows_of_selected().map(|text| ("shadow ban", text)));
        row
    }

    /// Returns the shadow bans on the user of the selected row, in words.
    fn shadows_of_selected(&self) -> impl Iterator<Item = String> {
        let users = self.selected_key().map_or(Vec::new(), |key| self.users_of(&key));
        let of_user = move |shadow: &&Shadow| users.contains(&shadow.user_id.0);
        self.side
            .shadows
            .iter()
            .filter(of_user)
            .map(|shadow| format!("{}, set by {}", shadow.text(), short_actor(&shadow.created_by)))
    }

    /// Moves the selection by a number of rows, and stops at both ends.
    pub(crate) fn select(&mut self, rows: isize) {
        let panel = self.panel();
        let (keys, at) = self.keys(panel);
        if let Some(last) = keys.len().checked_sub(1) {
            let to = at.saturating_add_signed(rows).min(last);
            self.table_mut(panel).selected = keys.into_iter().nth(to);
        }
    }

    /// Returns the stream that acts are about: the opened one, or the selected row's.
    pub(crate) fn acted_stream(&self) -> Option<(StreamId, String)> {
        let stream_id = match (self.place(), self.selected_key()) {
            (Place::Stream(stream_id), _) => *stream_id,
            (_, Some(RowKey::Stream(stream_id))) => stream_id,
            _ => return None,
        };
        let stream = self.moment()?.stream(stream_id)?;
        Some((stream_id, stream.title.clone()))
    }

    /// Returns the users that acts are about: those of the marked rows, or of the selected one.
    pub(crate) fn acted_users(&self) -> Vec<UserRef> {
        let panel = self.panel();
        let marked = &self.table(panel).marked;
        let mut keys: Vec<RowKey> = marked.iter().cloned().collect();
        if keys.is_empty() {
            keys.extend(self.selected_key());
        }
        let mut users: Vec<u64> = keys.iter().flat_map(|key| self.users_of(key)).collect();
        users.sort_unstable();
        users.dedup();
        users.into_iter().map(|user| UserRef(format!("id:{user}"))).collect()
    }

    /// Returns the users of a row; of a text, all that say it.
    fn users_of(&self, key: &RowKey) -> Vec<u64> {
        match key {
            RowKey::User(user_id) => vec![user_id.0],
            RowKey::Text(text) => {
                self.side.users_saying(*text).into_iter().map(|user_id| user_id.0).collect()
            }
            RowKey::Comment(comment_id) => {
                let reviews = self.side.reviews.iter();
                let mut of_reviews = reviews
                    .filter(|item| item.comment_id.0 == *comment_id)
                    .map(|item| item.user_id.0);
                let tail = self.side.tail.iter().flat_map(|tail| &tail.comments);
                let mut of_tail = tail
                    .filter(|(comment, _)| comment.comment_id.0 == *comment_id)
                    .map(|(comment, _)| comment.user_id.0);
                let made = self.side.decisions.iter();
                let mut of_decisions =
                    made.filter(|made| made.comment_id.0 == *comment_id).map(|made| made.user_id.0);
                let user = of_reviews.next().or_else(|| of_tail.next());
                user.or_else(|| of_decisions.next()).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the comments that acts are about.
    pub(crate) fn acted_comments(&self) -> Vec<CommentId> {
        let marked = &self.table(self.panel()).marked;
        let mut keys: Vec<RowKey> = marked.iter().cloned().collect();
        if keys.is_empty() {
            keys.extend(self.selected_key());
        }
        let comment = |key: RowKey| match key {
            RowKey::Comment(comment_id) => Some(CommentId(comment_id)),
            _ => None,
        };
        keys.into_iter().filter_map(comment).collect()
    }

    /// Returns the streams of the comments that acts are about, each once: of comments to review
    /// and of decisions.
    pub(crate) fn streams_of_acted_comments(&self) -> Vec<StreamId> {
        let comments: HashSet<_> = self.acted_comments().into_iter().collect();
        let reviews = self.side.reviews.iter().map(|item| (item.comment_id, item.stream_id));
        let decisions = self.side.decisions.iter().map(|made| (made.comment_id, made.stream_id));
        let of_acted =
            |(comment_id, stream_id)| comments.contains(&comment_id).then_some(stream_id);
        let mut streams: Vec<_> = reviews.chain(decisions).filter_map(of_acted).collect();
        streams.sort_unstable();
        streams.dedup();
        streams
    }

    /// Returns the comments to review that acts are about; none if another panel has the focus.
    pub(crate) fn acted_reviews(&self) -> Vec<&ReviewItem> {
        if self.panel() != Panel::Reviews {
            return Vec::new();
        }
        let comments: HashSet<_> = self.acted_comments().into_iter().collect();
        let reviews = self.side.reviews.iter();
        reviews.filter(|item| comments.contains(&item.comment_id)).collect()
    }

    /// Marks all rows of the focused panel whose text is that of the selected row; among talkers,
    /// all users that say it.
    pub(crate) fn mark_alike(&mut self) {
        let panel = self.panel();
        let alike: Vec<RowKey> = match panel {
            Panel::Comments => {
                let listing = self.comments();
                let Some(chosen) = listing.selection() else { return };
                let text = alike_key(&chosen.comment.message);
                let same = |row: &&CommentRow<'_>| alike_key(&row.comment.message) == text;
                listing.rows.iter().filter(same).map(Record::key).collect()
            }
            Panel::Reviews => {
                let listing = self.reviews();
                let Some(chosen) = listing.selection() else { return };
                let text = alike_key(&chosen.item.message);
                let same = |row: &&ReviewRow<'_>| alike_key(&row.item.message) == text;
                listing.rows.iter().filter(same).map(Record::key).collect()
            }
            Panel::Talkers => {
                let listing = self.talkers();
                let Some(chosen) = listing.selection() else { return };
                let users = self.side.users_saying(chosen.text);
                users.into_iter().map(RowKey::User).collect()
            }
            _ => return,
        };
        self.table_mut(panel).marked.extend(alike);
    }
}
