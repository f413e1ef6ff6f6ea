//! Other daemons that the console can attach to, and what stays of it when it does.

use super::{Console, Mode, Notice, Palette, Place};
use crate::protocol::admin::Session;
use crate::tui::commands::Command;
use crate::tui::contexts::{ContextEntry, no_such_context};

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
        let found = known.iter().find(|context| context.name == name);
        let names = || known.iter().map(|context| context.name.as_str());
        found.ok_or_else(|| no_such_context(name, names()))
    }

    /// Returns the command line, if one is typed.
    pub(crate) fn command_line(&self) -> Option<&str> {
        match &self.mode {
            Mode::Palette(line) => Some(&line.text),
            _ => None,
        }
    }

    /// Returns whether the command line that is typed is about contexts.
    pub(crate) fn has_ctx_line(&self) -> bool {
        let mut words = self.command_line().unwrap_or_default().split_whitespace();
        words.find(|word| *word != "lc") == Some("ctx")
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

    /// Notes that the console attaches to a context. Acts are off from now on, so that none reaches
    /// the daemon that the operator has turned away from.
    ///
    /// # Errors
    /// An act can still be taken back, which the console could not do any more.
    pub(crate) fn start_attaching(&mut self, context: &ContextEntry) -> Result<(), String> {
        if let Some((act, left_ms)) = self.undo.within_window(self.clock_ms) {
            let key = self.keymap.first(Command::Undo);
            let seconds = left_ms.div_ceil(1_000);
            let text = &act.text;
            return Err(format!("{text} can still be taken back: {key}, or wait {seconds} s"));
        }
        let key = self.keymap.first(Command::Back);
        let text = format!("attaching to {} …; {key} cancels", context.name);
        self.notice = Some(Notice::Running(text));
        self.attaching = Some(context.name.clone());
        Ok(())
    }

    /// Returns whether the console attaches to the context with this name.
    pub(crate) fn is_attaching_to(&self, name: &str) -> bool {
        self.attaching.as_deref() == Some(name)
    }

    /// Notes that the operator no longer wants to attach to another context. Returns false if none
    /// is being attached to.
    pub(crate) fn cancel_attaching(&mut self) -> bool {
        let Some(name) = self.attaching.take() else { return false };
        let text = format!("not attached to {name}: cancelled; nothing has changed");
        self.notice = Some(Notice::Done(text));
        true
    }

    /// Returns why nothing is asked of the daemon any more, if the console attaches to another.
    pub(crate) fn turned_away(&self) -> Option<String> {
        let name = self.attaching.as_ref()?;
        let key = self.keymap.first(Command::Back);
        Some(format!("acts are off while the console attaches to {name}; {key} cancels"))
    }

    /// Notes that a context could not be attached to. The console stays where it was.
    pub(crate) fn attaching_failed(&mut self, context: &ContextEntry, why: &str) {
        let text = format!("cannot attach to {}: {why}; nothing has changed", context.name);
        self.notice = Some(Notice::Failed(text));
        self.attaching = None;
    }

    /// Resets the console for another daemon and keeps only the operator's own choices. What was
    /// seen, marked, filtered, unlocked and done is of the cluster before. A text that is being
    /// typed stays open: its next key must not become a command.
    pub(crate) fn restart_for(&mut self, context: ContextEntry, session: Option<Session>) {
        let mut new = Self::new(self.keymap.clone(), self.theme, self.read_only);
        for (panel, table) in &self.tables {
            let shown = new.table_mut(*panel);
            shown.sort = table.sort;
            shown.inverted = table.inverted;
            shown.hidden.clone_from(&table.hidden);
        }
        new.go(Place::View(self.view()));
        new.mode = match std::mem::replace(&mut self.mode, Mode::Watching) {
            // Completions and errors are of the cluster before.
            Mode::Palette(line) => Mode::Palette(Palette {
                typed: line.text.clone(),
                text: line.text,
                ..Palette::default()
            }),
            typing @ (Mode::Filtering | Mode::Help { .. }) => typing,
            _ => Mode::Watching,
        };
        new.own_alerts = std::mem::take(&mut self.own_alerts);
        new.own_alerts.start_over();
        new.contexts = std::mem::replace(&mut self.contexts, Ok(Vec::new()));
        new.veiled = self.veiled;
        new.has_rail = self.has_rail;
        new.window = self.window;
        new.slow_link = self.slow_link;
        new.clock_ms = self.clock_ms;
        new.contact_timeout_ms = self.contact_timeout_ms;
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
