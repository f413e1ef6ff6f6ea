//! Other daemons that the console can attach to, and what stays of it when it does.

use super::{Console, Lock, Notice, Place};
use crate::protocol::admin::Session;
use crate::tui::contexts::ContextEntry;

impl Console {
    /// Takes the contexts that can be attached to, or why they are not known.
    pub(crate) fn set_contexts(&mut self, contexts: Result<Vec<ContextEntry>, String>) {
        self.contexts = contexts;
    }

    /// Returns the contexts that can be attached to.
    pub(crate) fn contexts(&self) -> &[ContextEntry] {
        self.contexts.as_deref().unwrap_or_default()
    }

    /// Finds a context to attach to.
    ///
    /// # Errors
    /// There is no such context, or nothing can be attached to now.
    pub(crate) fn context_named(&self, name: &str) -> Result<&ContextEntry, String> {
        if let Some(other) = &self.attaching {
            return Err(format!("the console attaches to {other}; wait until it has"));
        }
        let known = self.contexts.as_ref().map_err(String::clone)?;
        known.iter().find(|context| context.name == name).ok_or_else(|| match known.as_slice() {
            [] => format!("there is no context {name}; lc ctx add {name} SOCKET makes it"),
            known => format!("there is no context {name}; there are {}", names(known.iter())),
        })
    }

    /// Says which context the console is attached to, and which others there are.
    ///
    /// # Errors
    /// The contexts are not known.
    pub(crate) fn contexts_in_words(&self) -> Result<String, String> {
        let known = self.contexts.as_ref().map_err(String::clone)?;
        let current = self.context.as_ref();
        let attached = match current {
            Some(context) => format!("attached to {}, {}", context.name, context.place),
            None => "attached to a daemon without a context".to_owned(),
        };
        let is_other = |it: &&ContextEntry| current.is_none_or(|current| current.name != it.name);
        let others = names(known.iter().filter(is_other));
        Ok(match others.as_str() {
            "" => format!("{attached}; there are no others: lc ctx add NAME SOCKET makes one"),
            others => format!("{attached}; others: {others}"),
        })
    }

    /// Notes that the console attaches to a context. It is locked from now on, so that no act
    /// reaches the daemon that the operator has turned away from.
    pub(crate) fn start_attaching(&mut self, context: &ContextEntry) {
        self.lock = Lock::new(self.lock.is_read_only());
        self.notice = Some(Notice::Running(format!("attaching to {} …", context.name)));
        self.attaching = Some(context.name.clone());
    }

    /// Returns why nothing is asked of the daemon any more, if the console attaches to another.
    pub(crate) fn turned_away(&self) -> Option<String> {
        let name = self.attaching.as_ref()?;
        Some(format!("acts are off while the console attaches to {name}"))
    }

    /// Notes that a context could not be attached to. The console stays where it was.
    pub(crate) fn attaching_failed(&mut self, context: &ContextEntry, why: &str) {
        let text = format!("cannot attach to {}: {why}; nothing has changed", context.name);
        self.notice = Some(Notice::Failed(text));
        self.attaching = None;
    }

    /// Makes it the console of another daemon: new but for the operator's own choices. What was
    /// seen, marked, filtered, unlocked and done is of the cluster before.
    pub(crate) fn restart_for(&mut self, context: ContextEntry, session: Option<Session>) {
        let mut new = Self::new(self.keymap.clone(), self.theme, self.read_only);
        for (panel, table) in &self.tables {
            let shown = new.table_mut(*panel);
            shown.sort = table.sort;
            shown.inverted = table.inverted;
            shown.hidden.clone_from(&table.hidden);
        }
        new.go(Place::View(self.view()));
        new.own_alerts = std::mem::take(&mut self.own_alerts);
        new.own_alerts.start_over();
        new.contexts = std::mem::replace(&mut self.contexts, Ok(Vec::new()));
        new.veiled = self.veiled;
        new.has_rail = self.has_rail;
        new.window = self.window;
        new.slow_link = self.slow_link;
        new.clock_ms = self.clock_ms;
        let text = format!("attached to {}, {}; acts are locked", context.name, context.place);
        new.notice = Some(Notice::Done(text));
        new.set_context(context);
        new.set_session(session);
        *self = new;
    }
}

fn names<'a>(contexts: impl Iterator<Item = &'a ContextEntry>) -> String {
    contexts.map(|context| context.name.as_str()).collect::<Vec<_>>().join(", ")
}
