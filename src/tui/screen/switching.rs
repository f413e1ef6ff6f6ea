//! The change from one daemon to another: the contexts, the attempt to attach, its outcome.

use std::time::Duration;

use crossterm::event::{Event, KeyCode};
use futures_util::stream;
use tokio::task::JoinSet;

use super::{EventLoop, Finished};
use crate::client::admin::AdminError;
use crate::tui::SnapshotEvent;
use crate::tui::attachment::{Attachment, open_attachment};
use crate::tui::contexts::{ContextEntry, OpenedContext};
use crate::tui::fetch::Fetcher;
use crate::tui::state::{Effect, Notice};

impl EventLoop {
    /// Applies a key or the mouse. The contexts are read when a command line is opened and before
    /// one about contexts runs, so that those made meanwhile count.
    pub(super) fn handle_input(&mut self, event: &Event) -> Option<Effect> {
        let had_line = self.screen.console.command_line().is_some();
        let is_enter = matches!(event, Event::Key(key) if key.code == KeyCode::Enter);
        if is_enter && self.screen.console.has_ctx_line() {
            self.read_contexts();
        }
        let effect = self.screen.handle_input(event);
        if !had_line && self.screen.console.command_line().is_some() {
            self.read_contexts();
        }
        effect
    }

    fn read_contexts(&mut self) {
        self.screen.console.set_contexts(self.contexts.list());
    }

    /// Begins to attach to the daemon of another context. Until it answers, the console stays with
    /// this one, and acts are off.
    pub(super) fn start_attaching(&mut self, name: &str) {
        let opened = match (&self.recorder, self.running_acts) {
            (Some(_), _) => Err("a recording is of one cluster: start another lc top".to_owned()),
            (None, 1..) => {
                Err("an act still waits for the daemon: wait for its outcome".to_owned())
            }
            (None, 0) => self.contexts.open(name),
        };
        let started = opened.and_then(|opened| {
            self.screen.console.start_attaching(&opened.entry)?;
            Ok(opened)
        });
        let OpenedContext { entry: context, client } = match started {
            Ok(opened) => opened,
            Err(why) => {
                self.screen.console.notice = Some(Notice::Failed(why));
                return;
            }
        };
        let interval = self.interval;
        let attempt = self.requests.spawn(async move {
            let outcome = open_attachment(client, interval).await;
            Finished::Attached { context, outcome }
        });
        self.attaching = Some(attempt);
    }

    /// Ends the attempt to attach, as the operator asked. The state says so already.
    ///
    /// # Errors
    /// This daemon refused meanwhile, so there is none to stay with.
    pub(super) fn cancel_attaching(&mut self) -> Result<(), AdminError> {
        if let Some(attempt) = self.attaching.take() {
            attempt.abort();
        }
        self.refused.take().map_or(Ok(()), Err)
    }

    /// Keeps the refusal of this daemon until it is known whether another one answers. Meanwhile
    /// contact is lost.
    pub(super) fn keep_refusal(&mut self, error: AdminError) {
        self.screen.console.connection_lost(error.to_string(), Duration::ZERO);
        self.snapshots = Box::pin(stream::pending::<SnapshotEvent>());
        self.refused = Some(error);
    }

    /// Changes to the daemon that was attached to, or stays with this one.
    ///
    /// # Errors
    /// This daemon refused meanwhile, so there is none to stay with.
    pub(super) fn finish_attaching(
        &mut self,
        context: ContextEntry,
        outcome: Result<Attachment, AdminError>,
    ) -> Result<(), AdminError> {
        // An attempt that was cancelled may have ended just before.
        if !self.screen.console.is_attaching_to(&context.name) {
            return Ok(());
        }
        self.attaching = None;
        match outcome {
            Ok(attachment) => self.switch_daemon(context, attachment),
            Err(error) => {
                self.screen.console.attaching_failed(&context, &error.to_string());
                return self.refused.take().map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    /// Leaves the daemon for another one that answers. No act is running.
    fn switch_daemon(&mut self, context: ContextEntry, attachment: Attachment) {
        // Answers of the daemon before are dropped: those of requests, also finished ones, and
        // those of the fetcher with its channel.
        self.requests = JoinSet::new();
        self.previewing = None;
        self.refused = None;
        let Attachment { client, snapshots, session } = attachment;
        (self.fetcher, self.fetched) = Fetcher::new(client.clone());
        self.snapshots = snapshots;
        self.client = client;
        self.screen.console.restart_for(context, session);
    }
}
