//! Completions that know live values: streams, nodes, banned users, alerts, audit entries.
//!
//! `source <(COMPLETE=bash lc)` makes a shell ask `lc` for them. The daemon has [`PATIENCE`] to
//! answer; then, or without a daemon, there are no candidates and no message.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use serde::de::DeserializeOwned;

use super::context::Context;
use super::contexts::Contexts;
use crate::client::admin::NodeAddress;
use crate::protocol::StreamId;
use crate::protocol::admin::{
    Alert, AuditEntry, Cluster, NodeStatus, Room, Sanction, SavedView, Shadow, StreamStatus,
};
use crate::protocol::printable::printable;
use crate::protocol::quantity::show_duration;
use crate::protocol::room::RoomTerm;

const PATIENCE: Duration = Duration::from_millis(200);
/// Audit entries that are offered.
const AUDIT_PATH: &str = "/v1/audit?limit=20";

pub(super) fn streams() -> ArgValueCompleter {
    completer("/v1/streams", |stream: &StreamStatus| {
        (stream.stream_id.to_string(), stream.title.clone())
    })
}

pub(super) fn nodes() -> ArgValueCompleter {
    completer("/v1/nodes", |node: &NodeStatus| (node.node.to_string(), node.roles.join(", ")))
}

pub(super) fn sanctioned_users() -> ArgValueCompleter {
    completer("/v1/bans", |ban: &Sanction| {
        (format!("id:{}", ban.user_id), ban.name.clone().unwrap_or_default())
    })
}

pub(super) fn shadowed_users() -> ArgValueCompleter {
    completer("/v1/shadows", |shadow: &Shadow| {
        (format!("id:{}", shadow.user_id), shadow.name.clone().unwrap_or_default())
    })
}

pub(super) fn alerts() -> ArgValueCompleter {
    completer("/v1/alerts", |alert: &Alert| (alert.id.clone(), alert.effect.clone()))
}

pub(super) fn audit_entries() -> ArgValueCompleter {
    completer(AUDIT_PATH, |entry: &AuditEntry| {
        (entry.audit_id.to_string(), format!("{} {}", entry.action, entry.target))
    })
}

/// Completes the timeouts that a room offers, of the stream that `--stream` names.
pub(super) fn room_timeouts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let words: Vec<_> = std::env::args().collect();
        let room = value_of(&words, "--stream").and_then(|stream| {
            let stream_id: StreamId = stream.parse().ok()?;
            ask_one::<Room>(&format!("/v1/streams/{stream_id}/room"))
        });
        let offered = room.map(|room| room.settings.timeouts_ms).unwrap_or_default();
        beginning_with(current, offered.into_iter().map(|ms| (show_duration(ms), String::new())))
    })
}

/// Completes the blocked terms of a room, of the stream that stands behind `room`.
pub(super) fn room_terms() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut words = std::env::args().skip_while(|word| word != "room").skip(1);
        let terms = words.next().and_then(|stream| {
            let stream_id: StreamId = stream.parse().ok()?;
            ask::<RoomTerm>(&format!("/v1/streams/{stream_id}/room/terms"))
        });
        let shown = |term: RoomTerm| (term.term, term.action.as_str().to_owned());
        beginning_with(current, terms.unwrap_or_default().into_iter().map(shown))
    })
}

/// Completes the saved views of `lc top`; the others are in its help.
pub(super) fn views() -> ArgValueCompleter {
    completer("/v1/views", |view: &SavedView| {
        (format!("@{}", view.name), format!("{}, saved by {}", view.settings.view, view.saved_by))
    })
}

pub(super) fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let names = Contexts::read().map(|contexts| contexts.names()).unwrap_or_default();
        beginning_with(current, names.into_iter().map(|name| (name, String::new())))
    })
}

/// Completes an argument with the items of a list, and says what each is.
fn completer<T: DeserializeOwned + 'static>(
    path: &'static str,
    shown: fn(&T) -> (String, String),
) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let items: Vec<T> = ask(path).unwrap_or_default();
        beginning_with(current, items.iter().map(shown))
    })
}

fn beginning_with(
    current: &OsStr,
    values: impl Iterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    values
        .filter(|(value, _)| value.starts_with(&*current))
        .map(|(value, help)| {
            let help = Some(printable(&help)).filter(|help| !help.is_empty());
            CompletionCandidate::new(printable(&value)).help(help.map(Into::into))
        })
        .collect()
}

fn ask<T: DeserializeOwned>(path: &str) -> Option<Vec<T>> {
    ask_one::<Cluster<T>>(path).map(|answer| answer.items)
}

fn ask_one<T: DeserializeOwned>(path: &str) -> Option<T> {
    let words: Vec<_> = std::env::args().collect();
    let context = Context::new(Given::in_line(&words).into_globals()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, context.admin().get::<T>(path)).await });
    answer.ok()?.ok()
}

/// The daemon that the line in completion names.
#[derive(Debug, Default, PartialEq)]
struct Given {
    socket: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    ctx: Option<String>,
    node: Option<NodeAddress>,
}

impl Given {
    /// Finds the options in a line, which need not be complete.
    fn in_line(words: &[String]) -> Self {
        let value_of = |option| value_of(words, option);
        Self {
            socket: value_of("--socket").map(PathBuf::from),
            data_dir: value_of("--data-dir").map(PathBuf::from),
            ctx: value_of("--ctx"),
            node: value_of("--node").and_then(|text| text.parse().ok()),
        }
    }

    fn into_globals(self) -> super::context::Globals {
        let Self { socket, data_dir, ctx, node } = self;
        super::context::Globals { socket, data_dir, ctx, node, json: true }
    }
}

/// Returns the value of an option in a line.
fn value_of(words: &[String], option: &str) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == option {
            return words.next().cloned();
        }
        if let Some(value) = word.strip_prefix(option).and_then(|it| it.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_of_an_unfinished_line_is_asked() {
        let given =
            |line: &str| Given::in_line(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let socket = Some(PathBuf::from("/a.sock"));
        assert_eq!(given("lc --socket /a.sock streams").socket, socket);
        assert_eq!(given("lc --socket=/a.sock streams").socket, socket);
        assert_eq!(given("lc --ctx prod unban ").ctx.as_deref(), Some("prod"));
        let node = given("lc --node lcd://edge-1 streams").node;
        assert_eq!(node, Some("lcd://edge-1".parse().unwrap()));
        assert_eq!(given("lc streams --socket"), Given::default());
    }

    #[test]
    fn only_what_begins_like_the_word_is_offered() {
        let values = [("7", "Final"), ("70", ""), ("8", "x\u{1b}[2J")]
            .map(|(value, help)| (value.to_owned(), help.to_owned()));
        let offered = beginning_with(OsStr::new("7"), values.clone().into_iter());
        let offered: Vec<_> =
            offered.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect();
        assert_eq!(offered, ["7", "70"]);
        assert_eq!(beginning_with(OsStr::new(""), values.into_iter()).len(), 3);
    }
}
