//! Views under a name: what is kept of the view on the screen, and how it is shown again.

use super::places::{Panel, Place, View};
use super::{Console, WINDOWS_MS};
use crate::protocol::admin::{SavedView, TableSettings, ViewSettings};
use crate::tui::table::TableState;

impl Console {
    /// Returns the settings of the view on the screen. A filter that is wrong is not kept.
    pub(crate) fn view_settings(&self) -> ViewSettings {
        let view = self.view();
        let panels = Place::View(view).panels().iter();
        let tables = panels.filter_map(|panel| table_settings(*panel, self.table(*panel)));
        ViewSettings {
            view: view.command().entry().name.to_owned(),
            window_ms: self.window_ms(),
            tables: tables.collect(),
        }
    }

    /// Shows a view as it was saved. Tables and columns that this console does not know are left
    /// out.
    ///
    /// # Errors
    /// This console does not know the view; nothing changes.
    pub(crate) fn show_saved(&mut self, saved: &SavedView) -> Result<(), String> {
        let SavedView { name, settings, .. } = saved;
        let known = View::ALL.into_iter().find(|view| view.command().entry().name == settings.view);
        let Some(view) = known else {
            return Err(format!("@{name} is a view that this lc does not know: {}", settings.view));
        };
        self.go(Place::View(view));
        if let Some(window) = WINDOWS_MS.iter().position(|ms| *ms == settings.window_ms) {
            self.window = window;
        }
        for panel in Place::View(view).panels() {
            let kept = settings.tables.iter().find(|table| table.table == panel.name());
            *self.table_mut(*panel) = match kept {
                Some(kept) => table_state(*panel, kept),
                None => panel.initial_state(),
            };
        }
        Ok(())
    }

    /// Returns the saved view of a name.
    pub(crate) fn saved(&self, name: &str) -> Option<&SavedView> {
        self.side.views.iter().find(|view| view.name == name)
    }
}

/// Returns what differs from a new console; `None` if nothing does.
fn table_settings(panel: Panel, table: &TableState) -> Option<TableSettings> {
    let settings = TableSettings {
        table: panel.name().to_owned(),
        filter: table.filter.in_effect().to_owned(),
        sort: table.sort.map(str::to_owned),
        inverted: table.inverted,
        hidden: table.hidden.iter().map(|name| (*name).to_owned()).collect(),
    };
    let initial = panel.initial_state();
    let is_initial = settings.filter.is_empty()
        && table.sort == initial.sort
        && table.inverted == initial.inverted
        && table.hidden == initial.hidden;
    (!is_initial).then_some(settings)
}

fn table_state(panel: Panel, kept: &TableSettings) -> TableState {
    let column = |name: &String| {
        let known = panel.columns().iter().find(|column| column.name == name);
        known.map(|column| column.name)
    };
    let sort = kept.sort.as_ref().and_then(column);
    let knows_order = sort.is_some() || kept.sort.is_none();
    let mut state = TableState {
        sort,
        inverted: kept.inverted && knows_order,
        hidden: kept.hidden.iter().filter_map(column).collect(),
        ..TableState::default()
    };
    // One column at least is shown, as where columns are chosen.
    if state.hidden.len() >= panel.columns().len() {
        state.hidden.clear();
    }
    state.filter.replace(kept.filter.clone(), panel.filtered());
    state
}
