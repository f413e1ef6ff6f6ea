//! Tables: their columns, and how rows are filtered, sorted, selected and marked.
//!
//! Nothing here draws. A row is named by a [`RowKey`], so a selection follows its row when the
//! order changes.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use uuid::Uuid;

use super::tone::Cell;
use crate::protocol::filter::{self, Filter, FilterError, Value};
use crate::protocol::{NodeId, StreamId, UserId};

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The header, and the name under which a row gives its cell.
    pub(crate) name: &'static str,
    /// The column of the filter grammar that it sorts by; empty if it does not sort.
    pub(crate) by: &'static str,
    /// 0 takes the remaining width.
    pub(crate) width: u16,
    pub(crate) right: bool,
    /// Columns with the highest rank are left out first.
    pub(crate) rank: u8,
    /// The meaning of the figure, with its unit and its source.
    pub(crate) meaning: &'static str,
}

/// The identity of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    Stream(StreamId),
    Node(NodeId),
    Worker(NodeId, u32),
    User(UserId),
    /// The number of a comment. Its order is of no meaning.
    Comment(Uuid),
    /// The key of a text that many users say.
    Text(u32),
    /// A dependency, a server, a consumer group or a rule.
    Named(String),
    /// The number of a happening or of an audit entry.
    Numbered(u64),
}

/// A row of a table.
pub(crate) trait Record: filter::Row {
    fn key(&self) -> RowKey;

    /// Returns the cell of a column.
    fn cell(&self, column: &str) -> Cell;
}

/// The filter of a table as it is typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct FilterInput {
    pub(crate) text: String,
    /// The filter in effect: the typed one. While the text is no filter, the one entered last.
    filter: Filter,
    /// The text of the filter in effect.
    in_effect: String,
    /// The text that was entered last.
    entered: String,
    pub(crate) error: Option<FilterError>,
}

impl FilterInput {
    /// Takes the text as it is typed. While it is no filter, the one entered last applies.
    pub(crate) fn set(&mut self, text: String, columns: &[filter::Column]) {
        match Filter::parse(text.trim(), columns) {
            Ok(filter) => {
                self.filter = filter;
                self.in_effect = text.trim().to_owned();
                self.error = None;
            }
            Err(error) => {
                // It was a filter when it was entered.
                self.filter = Filter::parse(&self.entered, columns).unwrap_or_default();
                self.in_effect.clone_from(&self.entered);
                self.error = Some(error);
            }
        }
        self.text = text;
    }

    /// Enters the typed text. Returns false if it is no filter.
    pub(crate) fn enter(&mut self) -> bool {
        if self.error.is_some() {
            return false;
        }
        self.entered.clone_from(&self.in_effect);
        true
    }

    /// Sets and enters a text that is not typed.
    pub(crate) fn replace(&mut self, text: String, columns: &[filter::Column]) {
        self.set(text, columns);
        self.enter();
    }

    /// Returns the text of the filter in effect.
    pub(crate) fn in_effect(&self) -> &str {
        &self.in_effect
    }

    pub(crate) fn is_active(&self) -> bool {
        !self.filter.is_empty()
    }
}

/// The choices of an operator on one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableState {
    pub(crate) filter: FilterInput,
    /// The column it is sorted by; without one the order is the table's own.
    pub(crate) sort: Option<&'static str>,
    pub(crate) inverted: bool,
    pub(crate) hidden: BTreeSet<&'static str>,
    pub(crate) selected: Option<RowKey>,
    pub(crate) marked: BTreeSet<RowKey>,
}

impl TableState {
    pub(crate) fn sorted_by(column: &'static str) -> Self {
        Self { sort: Some(column), ..Self::default() }
    }

    /// Goes to the next or the previous column that sorts.
    pub(crate) fn step_sort(&mut self, columns: &[Column], forward: bool) {
        let names: Vec<_> =
            columns.iter().filter(|c| !c.by.is_empty()).map(|column| column.name).collect();
        if names.is_empty() {
            return;
        }
        let at = self.sort.and_then(|sort| names.iter().position(|name| *name == sort));
        let next = match (at, forward) {
            (None, true) => 0,
            (None, false) => names.len() - 1,
            (Some(at), true) => (at + 1) % names.len(),
            (Some(at), false) => (at + names.len() - 1) % names.len(),
        };
        self.sort = Some(names[next]);
        self.inverted = false;
    }

    /// Sorts by a column, or inverts the order if it does so already.
    pub(crate) fn sort_by(&mut self, name: &'static str) {
        if self.sort == Some(name) {
            self.inverted = !self.inverted;
        } else {
            (self.sort, self.inverted) = (Some(name), false);
        }
    }

    /// Returns the columns that are not hidden.
    pub(crate) fn shown(&self, columns: &[Column]) -> Vec<Column> {
        columns.iter().filter(|column| !self.hidden.contains(column.name)).copied().collect()
    }
}

/// The rows of a table as they are shown.
#[derive(Debug, Clone)]
pub(crate) struct Listing<R> {
    pub(crate) rows: Vec<R>,
    /// Rows that the filter hides.
    pub(crate) hidden: usize,
    /// Marked rows among those.
    pub(crate) hidden_marks: usize,
    /// The index of the selected row; the first one if none is selected.
    pub(crate) selected: usize,
}

impl<R: Record> Listing<R> {
    /// Filters and sorts rows.
    pub(crate) fn of(
        rows: impl IntoIterator<Item = R>,
        columns: &[Column],
        state: &TableState,
    ) -> Self {
        let mut hidden = 0;
        let mut hidden_marks = 0;
        let mut kept: Vec<(Option<SortKey>, R)> = Vec::new();
        let column = state.sort.and_then(|sort| columns.iter().find(|c| c.name == sort));
        let by = column.map_or("", |column| column.by);
        for row in rows {
            if state.filter.filter.matches(&row) {
                kept.push((row.column(by).map(SortKey::from), row));
            } else {
                hidden += 1;
                hidden_marks += usize::from(state.marked.contains(&row.key()));
            }
        }
        if !by.is_empty() {
            kept.sort_by(|(a, row_a), (b, row_b)| {
                order(a.as_ref(), b.as_ref(), state.inverted).then(row_a.key().cmp(&row_b.key()))
            });
        } else if state.inverted {
            kept.reverse();
        }
        let rows: Vec<R> = kept.into_iter().map(|(_, row)| row).collect();
        let chosen = state.selected.as_ref();
        let selected =
            chosen.and_then(|key| rows.iter().position(|row| row.key() == *key)).unwrap_or(0);
        Self { rows, hidden, hidden_marks, selected }
    }

    pub(crate) fn total(&self) -> usize {
        self.rows.len() + self.hidden
    }

    pub(crate) fn selection(&self) -> Option<&R> {
        self.rows.get(self.selected)
    }

    /// Returns the first row to show so that the selected one is visible in `room` rows.
    pub(crate) fn first_shown(&self, room: usize) -> usize {
        (self.selected + 1).saturating_sub(room)
    }
}

/// A value that sorts: numbers from the largest, texts from A.
#[derive(Debug, Clone, PartialEq)]
enum SortKey {
    Number(f64),
    Count(u64),
    Text(String),
}

impl From<Value<'_>> for SortKey {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Number(number) => Self::Number(number),
            Value::Count(count) => Self::Count(count),
            Value::Text(text) => Self::Text(text.to_lowercase()),
            Value::Flag(flag) => Self::Number(f64::from(u8::from(flag))),
        }
    }
}

/// Orders two rows; those without a value come last either way.
fn order(a: Option<&SortKey>, b: Option<&SortKey>, inverted: bool) -> Ordering {
    let order = match (a, b) {
        (None, None) => return Ordering::Equal,
        (None, Some(_)) => return Ordering::Greater,
        (Some(_), None) => return Ordering::Less,
        (Some(SortKey::Number(a)), Some(SortKey::Number(b))) => b.total_cmp(a),
        (Some(SortKey::Text(a)), Some(SortKey::Text(b))) => a.cmp(b),
        (Some(SortKey::Count(a)), Some(SortKey::Count(b))) => b.cmp(a),
        (Some(SortKey::Number(a)), Some(SortKey::Count(b))) => (*b as f64).total_cmp(a),
        (Some(SortKey::Count(a)), Some(SortKey::Number(b))) => b.total_cmp(&(*a as f64)),
        (Some(SortKey::Number(_) | SortKey::Count(_)), Some(SortKey::Text(_))) => Ordering::Less,
        (Some(SortKey::Text(_)), Some(SortKey::Number(_) | SortKey::Count(_))) => Ordering::Greater,
    };
    if inverted { order.reverse() } else { order }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::filter::Kind;

    struct Fruit(u64, &'static str, Option<f64>);

    impl filter::Row for Fruit {
        fn column(&self, name: &str) -> Option<Value<'_>> {
            match name {
                "name" => Some(self.1.into()),
                "weight" => self.2.map(Value::Number),
                _ => None,
            }
        }

        fn texts(&self, visit: &mut dyn FnMut(&str)) {
            visit(self.1);
        }
    }

    impl Record for Fruit {
        fn key(&self) -> RowKey {
            RowKey::Numbered(self.0)
        }

        fn cell(&self, _: &str) -> Cell {
            Cell::text(self.1)
        }
    }

    const COLUMNS: [Column; 3] = [
        Column { name: "", by: "", width: 1, right: false, rank: 0, meaning: "" },
        Column { name: "name", by: "name", width: 0, right: false, rank: 0, meaning: "" },
        Column { name: "g", by: "weight", width: 4, right: true, rank: 1, meaning: "" },
    ];
    const FILTERED: [filter::Column; 2] =
        [filter::Column::new("name", Kind::Text), filter::Column::new("weight", Kind::Number)];

    fn names(state: &TableState) -> Vec<&'static str> {
        let fruits = [
            Fruit(1, "pear", Some(160.0)),
            Fruit(2, "Apple", Some(180.0)),
            Fruit(3, "fig", None),
            Fruit(4, "plum", Some(60.0)),
        ];
        Listing::of(fruits, &COLUMNS, state).rows.iter().map(|fruit| fruit.1).collect()
    }

    #[test]
    fn every_column_sorts_both_ways() {
        let mut state = TableState::default();
        assert_eq!(names(&state), ["pear", "Apple", "fig", "plum"]);
        state.step_sort(&COLUMNS, true);
        assert_eq!(names(&state), ["Apple", "fig", "pear", "plum"]);
        state.sort_by("name");
        assert_eq!(names(&state), ["plum", "pear", "fig", "Apple"]);
        state.step_sort(&COLUMNS, true);
        assert_eq!(names(&state), ["Apple", "pear", "plum", "fig"]);
        state.inverted = true;
        assert_eq!(names(&state), ["plum", "pear", "Apple", "fig"], "the unknown stays last");
        state.step_sort(&COLUMNS, false);
        assert_eq!(state.sort, Some("name"));
    }

    #[test]
    fn a_filter_hides_rows_and_counts_marks() {
        let mut state = TableState::default();
        state.marked.insert(RowKey::Numbered(4));
        state.filter.set("weight>100".into(), &FILTERED);
        assert_eq!(names(&state), ["pear", "Apple"]);
        let fruits = [Fruit(1, "pear", Some(160.0)), Fruit(4, "plum", Some(60.0))];
        let listing = Listing::of(fruits, &COLUMNS, &state);
        assert_eq!((listing.total(), listing.hidden, listing.hidden_marks), (2, 1, 1));
        state.filter.set(String::new(), &FILTERED);
        assert!(!state.filter.is_active());
    }

    #[test]
    fn a_wrong_filter_leaves_the_one_entered_last() {
        let mut state = TableState::default();
        state.filter.set("p".into(), &FILTERED);
        assert_eq!(names(&state), ["pear", "Apple", "plum"]);
        state.filter.set("weight>".into(), &FILTERED);
        assert!(state.filter.error.is_some() && !state.filter.enter());
        assert!(!state.filter.is_active(), "nothing was entered");
        state.filter.replace("weight>100".into(), &FILTERED);
        state.filter.set("p".into(), &FILTERED);
        state.filter.set("weight>".into(), &FILTERED);
        assert_eq!(names(&state), ["pear", "Apple"]);
        assert_eq!(state.filter.in_effect(), "weight>100");
    }

    #[test]
    fn the_selection_follows_its_row() {
        let fruits = || (0..100).map(|number| Fruit(number, "fig", Some(number as f64)));
        let mut state = TableState::sorted_by("g");
        state.selected = Some(RowKey::Numbered(3));
        assert_eq!(Listing::of(fruits(), &COLUMNS, &state).selected, 96);
        state.inverted = true;
        let listing = Listing::of(fruits(), &COLUMNS, &state);
        assert_eq!((listing.selected, listing.first_shown(10)), (3, 0));
        assert_eq!(listing.first_shown(2), 2);
    }
}
