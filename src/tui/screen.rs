//! The event loop of the console: wait for an event, apply it, draw.

use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::{Stream, StreamExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::state::{Console, Effect, Notice};
use super::terminal::TerminalSession;
use super::theme::Theme;
use super::{SnapshotEvent, action, keys, snapshots_path, view};
use crate::client::admin::{AdminClient, AdminError};
use crate::client::follow::{Followed, follow};

/// Maximum number of running actions. Further ones are refused, not queued.
const MAX_ACTIONS: usize = 8;

/// An error that ended the console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("the terminal failed: {0}")]
    Terminal(#[from] io::Error),
}

/// Runs until the operator quits, `stop` is cancelled, or the daemon refuses the request.
///
/// # Errors
///
/// Fails before anything is drawn if no daemon listens at the start. A daemon that is lost later is
/// reconnected to.
pub async fn run(
    client: AdminClient,
    interval: Duration,
    stop: CancellationToken,
) -> Result<(), ConsoleError> {
    let snapshots = follow(client.clone(), snapshots_path(interval)).await?;
    let mut event_loop = EventLoop {
        client,
        theme: Theme::from_environment(),
        console: Console::default(),
        terminal: TerminalSession::start()?,
        actions: JoinSet::new(),
        stop,
    };
    event_loop.run(Box::pin(snapshots)).await
}

/// The console with its terminal, its daemon and its running actions.
struct EventLoop {
    client: AdminClient,
    theme: Theme,
    console: Console,
    terminal: TerminalSession,
    actions: JoinSet<Result<String, AdminError>>,
    stop: CancellationToken,
}

impl EventLoop {
    async fn run(
        &mut self,
        mut snapshots: impl Stream<Item = SnapshotEvent> + Unpin,
    ) -> Result<(), ConsoleError> {
        let mut input = EventStream::new();
        loop {
            self.draw()?;
            let effect = tokio::select! {
                event = input.next() => match event {
                    Some(event) => self.handle_input(&event?),
                    // The terminal was closed.
                    None => Some(Effect::Quit),
                },
                event = snapshots.next() => self.handle_snapshot(event)?,
                Some(result) = self.actions.join_next() => {
                    // Actions are never cancelled, so a join error is a panic; it is passed on.
                    self.finish_action(result.unwrap_or_else(|error| resume_unwind(error.into_panic())));
                    None
                }
                () = self.stop.cancelled() => Some(Effect::Quit),
            };
            match effect {
                Some(Effect::Quit) => return Ok(()),
                Some(Effect::Suspend) => self.terminal.suspend()?,
                Some(Effect::Redraw) => self.terminal.screen.clear()?,
                Some(Effect::Run(action)) => self.start_action(action),
                None => {}
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let Self { console, theme, terminal, .. } = self;
        terminal
            .screen
            .draw(|frame| view::draw(frame.area(), frame.buffer_mut(), console, theme))
            .map(|_| ())
    }

    fn handle_input(&mut self, event: &Event) -> Option<Effect> {
        match event {
            Event::Key(key) => keys::press(&mut self.console, *key),
            // A new size only needs the next draw; other events are ignored.
            _ => None,
        }
    }

    fn handle_snapshot(
        &mut self,
        event: Option<SnapshotEvent>,
    ) -> Result<Option<Effect>, AdminError> {
        match event {
            Some(Followed::Item(snapshot)) => self.console.add_snapshot(snapshot),
            Some(Followed::Lost { why, retry_in }) => {
                self.console.connection_lost(why.to_string(), retry_in);
            }
            Some(Followed::Ended(error)) => return Err(error),
            None => return Ok(Some(Effect::Quit)),
        }
        Ok(None)
    }

    fn start_action(&mut self, action: super::form::Action) {
        if self.actions.len() == MAX_ACTIONS {
            let text = format!("{MAX_ACTIONS} actions are still waiting for the daemon");
            self.console.notice = Some(Notice::Failed(text));
            return;
        }
        self.console.notice = Some(Notice::Running(action::progress_text(&action)));
        let client = self.client.clone();
        self.actions.spawn(async move { action::run(&client, &action).await });
    }

    fn finish_action(&mut self, outcome: Result<String, AdminError>) {
        self.console.notice = Some(match outcome {
            Ok(sentence) => Notice::Done(sentence),
            Err(error) => Notice::Failed(error.to_string()),
        });
    }
}
