//! `lc top`: runs the console, or prints one frame of it, or its snapshots as JSON.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use futures_util::StreamExt as _;

use super::arguments::interval;
use super::complete;
use super::context::Context;
use super::contexts::ContextFile;
use super::exit::UsageError;
use super::output::{note, write};
use super::settings::Settings;
use super::stop::stop_on_signal;
use crate::client::follow::{Followed, follow};
use crate::protocol::admin::TopSnapshot;
use crate::tui::{self, ConsoleError, ConsoleOptions, KeyBinding};

/// After a signal only the line in hand is left to write.
const PATIENCE: Duration = Duration::from_secs(2);
/// Size of a frame if stdout is not a terminal.
const FRAME_SIZE: (u16, u16) = (120, 40);

/// Watch and control the system on one screen
///
/// Press ? for the keys. It starts locked: ! unlocks the keys that act. In a pipe, or with --json,
/// the snapshots are printed as JSON lines.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Time between two snapshots, from 100ms to 1m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true,
        value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// Print one frame as text and exit; its size is that of the terminal, or 120×40
    #[arg(long)]
    once: bool,
    /// With --once: print the frame as an SVG picture
    #[arg(long, requires = "once")]
    svg: bool,
    /// View to start with: overview, streams, cluster, engines, moderation, events, or a saved one,
    /// @NAME
    #[arg(long, value_name = "VIEW", value_parser = view, add = complete::views())]
    view: Option<String>,
    /// Only watch: the keys that act cannot be unlocked
    #[arg(long)]
    read_only: bool,
    /// Colours [default: by the terminal]
    #[arg(long, value_name = "THEME", value_parser = PossibleValuesParser::new(tui::THEMES))]
    theme: Option<String>,
    /// Draw with ASCII characters only
    #[arg(long)]
    ascii: bool,
    /// Leave the mouse to the terminal
    #[arg(long)]
    no_mouse: bool,
    /// Keep what the console is told in a new file, for --replay
    #[arg(long, value_name = "FILE", conflicts_with = "once")]
    record: Option<PathBuf>,
    /// Show what --record kept, without a daemon: space stops, ← → [ ] go back and forward
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "once", "interval"])]
    replay: Option<PathBuf>,
    /// Bind a command to another key, such as quit=Q or live=ctrl-e; may be repeated, and counts
    /// more than the bindings in $LC_CONFIG or ~/.config/lc/config.toml
    #[arg(long = "key", value_name = "COMMAND=KEY", value_parser = key_binding)]
    keys: Vec<KeyBinding>,
}

/// Reads a binding. Which commands and keys there are is known to the console.
fn key_binding(text: &str) -> Result<KeyBinding, String> {
    let (command, key) = text
        .split_once('=')
        .filter(|(_, key)| !key.is_empty())
        .ok_or("write COMMAND=KEY, such as quit=Q")?;
    let place = format!("--key {text}");
    Ok(KeyBinding { command: command.trim().to_owned(), key: key.to_owned(), place })
}

/// Reads the name of a view.
fn view(text: &str) -> Result<String, String> {
    if text.starts_with('@') || tui::VIEWS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("write one of {}, or @NAME for a saved one", tui::VIEWS.join(", ")))
}

impl TopArgs {
    /// Returns whether a recording is shown in place of a daemon.
    pub(super) fn shows_recording(&self) -> bool {
        self.replay.is_some()
    }

    fn options(&self, context: &Context) -> Result<ConsoleOptions, UsageError> {
        Ok(ConsoleOptions {
            interval: self.interval,
            context: context.named().cloned(),
            contexts: Arc::new(ContextFile::of_this_user()),
            read_only: self.read_only,
            mouse: !self.no_mouse,
            ascii: self.ascii,
            svg: self.svg,
            theme: self.theme.clone(),
            view: self.view.clone(),
            // The later list counts more.
            keys: vec![Settings::read()?.keys, self.keys.clone()],
            record: self.record.clone(),
        })
    }
}

/// Runs the command. `json` is true if `--json` was given; a pipe alone sets `context.json`.
pub(super) async fn run(args: TopArgs, json: bool, context: &Context) -> anyhow::Result<ExitCode> {
    if (args.record.is_some() || args.replay.is_some()) && (json || context.json) {
        let text = "--record and --replay need a terminal; lc top --json > FILE keeps snapshots";
        return Err(UsageError(text.to_owned()).into());
    }
    if let Some(path) = &args.replay {
        let stop = stop_on_signal(PATIENCE);
        tui::replay(path, args.options(context)?, stop).await.map_err(cause)?;
        return Ok(ExitCode::SUCCESS);
    }
    match (args.once, json || context.json) {
        (true, _) if !json => {
            let size = crossterm::terminal::size().unwrap_or(FRAME_SIZE);
            let frame = tui::frame(context.admin(), args.options(context)?, size).await;
            write(&frame.map_err(cause)?)?;
        }
        (once, true) => snapshots(args.interval, once, context).await?,
        _ => {
            let stop = stop_on_signal(PATIENCE);
            tui::run(context.admin(), args.options(context)?, stop).await.map_err(cause)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the error of the daemon itself, or of what the user wrote, from which the exit code
/// follows.
fn cause(error: ConsoleError) -> anyhow::Error {
    match error {
        ConsoleError::Admin(error) => error.into(),
        ConsoleError::Binding(error) => UsageError(error.to_string()).into(),
        other => other.into(),
    }
}

async fn snapshots(interval: Duration, once: bool, context: &Context) -> anyhow::Result<()> {
    let path = tui::snapshots_path(interval);
    let mut snapshots = Box::pin(follow::<TopSnapshot>(context.admin(), path).await?);
    let stop = stop_on_signal(PATIENCE);
    while let Some(Some(followed)) = stop.run_until_cancelled(snapshots.next()).await {
        match followed {
            Followed::Item(snapshot) => context.output().item(&snapshot, String::new)?,
            Followed::Lost { why, .. } if !once => note(&format!("lc: {why}; retrying")),
            Followed::Lost { why: error, .. } | Followed::Ended(error) => return Err(error.into()),
        }
        if once {
            break;
        }
    }
    Ok(())
}
