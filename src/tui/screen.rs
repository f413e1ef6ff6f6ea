//! The loop of the console: wait for something to happen, apply it, draw.

use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::{Stream, StreamExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::state::{Console, Effect, Notice};
use super::terminal::Screen;
use super::theme::Theme;
use super::{Snapshots, action, keys, snapshots_path, view};
use crate::client::admin::{AdminClient, AdminError};
use crate::client::follow::{Followed, follow};

/// Actions under way at most; one more is refused, not queued.
const MAX_ACTIONS: usize = 8;

/// Why the console ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("the terminal failed: {0}")]
    Terminal(#[from] io::Error),
}

/// Runs until the operator quits, a signal comes, or the daemon declines for good.
///
/// # Errors
///
/// When no daemon listens at the start: nothing was drawn then. Later a daemon that goes away is
/// waited for.
pub async fn run(client: AdminClient, interval: Duration) -> Result<(), ConsoleError> {
    let snapshots = follow(client.clone(), snapshots_path(interval)).await?;
    let mut desk = Desk {
        client,
        theme: Theme::from_environment(),
        console: Console::default(),
        screen: Screen::take()?,
        actions: JoinSet::new(),
    };
    desk.watch(Box::pin(snapshots)).await
}

/// What the operator sits at.
struct Desk {
    client: AdminClient,
    theme: Theme,
    console: Console,
    screen: Screen,
    actions: JoinSet<Result<String, AdminError>>,
}

impl Desk {
    async fn watch(
        &mut self,
        mut snapshots: impl Stream<Item = Snapshots> + Unpin,
    ) -> Result<(), ConsoleError> {
        let mut input = EventStream::new();
        let mut signals = Signals::listen()?;
        loop {
            self.draw()?;
            let effect = tokio::select! {
                event = input.next() => match event {
                    Some(event) => self.input(&event?),
                    // The terminal is gone.
                    None => Some(Effect::Quit),
                },
                followed = snapshots.next() => self.followed(followed)?,
                Some(done) = self.actions.join_next() => {
                    // Nothing cancels an action, so this can only be its panic, and it is ours.
                    self.done(done.unwrap_or_else(|error| resume_unwind(error.into_panic())));
                    None
                }
                () = signals.any() => Some(Effect::Quit),
            };
            match effect {
                Some(Effect::Quit) => return Ok(()),
                Some(Effect::Suspend) => self.screen.suspend()?,
                Some(Effect::Redraw) => self.screen.terminal.clear()?,
                Some(Effect::Run(action)) => self.start(action),
                None => {}
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let Self { console, theme, screen, .. } = self;
        screen
            .terminal
            .draw(|frame| view::draw(frame.area(), frame.buffer_mut(), console, theme))
            .map(|_| ())
    }

    fn input(&mut self, event: &Event) -> Option<Effect> {
        match event {
            Event::Key(key) => keys::press(&mut self.console, *key),
            // A new size is drawn as everything else; other events mean nothing here.
            _ => None,
        }
    }

    fn followed(&mut self, followed: Option<Snapshots>) -> Result<Option<Effect>, AdminError> {
        match followed {
            Some(Followed::Item(snapshot)) => self.console.snapshot(snapshot),
            Some(Followed::Lost { why, retry_in }) => self.console.lost(why.to_string(), retry_in),
            Some(Followed::Ended(error)) => return Err(error),
            None => return Ok(Some(Effect::Quit)),
        }
        Ok(None)
    }

    fn start(&mut self, action: super::form::Action) {
        if self.actions.len() == MAX_ACTIONS {
            let text = format!("{MAX_ACTIONS} actions are still waiting for the daemon");
            self.console.notice = Some(Notice::Failed(text));
            return;
        }
        self.console.notice = Some(Notice::Running(action::announce(&action)));
        let client = self.client.clone();
        self.actions.spawn(async move { action::perform(&client, &action).await });
    }

    fn done(&mut self, outcome: Result<String, AdminError>) {
        self.console.notice = Some(match outcome {
            Ok(sentence) => Notice::Done(sentence),
            Err(error) => Notice::Failed(error.to_string()),
        });
    }
}

/// The signals that end a program at a terminal.
struct Signals([Signal; 4]);

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn any(&mut self) {
        let [a, b, c, d] = &mut self.0;
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
            _ = d.recv() => {}
        }
    }
}
