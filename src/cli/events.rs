//! `lc events`: lists what has changed, and follows what changes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;

use super::arguments::count_in;
use super::context::Context;
use super::exit::UsageError;
use super::list::underlined;
use super::output::{note, show_time};
use super::stop::stop_on_signal;
use crate::client::admin::path_segment;
use crate::client::follow::{Followed, follow};
use crate::protocol::admin::{Cluster, EventItem};
use crate::protocol::filter::rows::At;
use crate::protocol::filter::{Columns as _, Filter};
use crate::protocol::printable::printable;

/// After a signal only the line in hand is left to write.
const PATIENCE: Duration = Duration::from_secs(2);

/// List what has changed: dependencies, nodes, throttles, alerts, changes by operators
///
/// Oldest first. Each node keeps the newest 2000 events of the cluster since it started.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Show only events for which this holds, such as 'kind in (alert, breaker) !archiver'
    #[arg(long = "where", value_name = "EXPR", default_value = "", hide_default_value = true)]
    filter: String,
    /// Continue with the events to come
    #[arg(long, short)]
    follow: bool,
    /// Maximum number of earlier events, up to 2000
    #[arg(long, value_name = "N", value_parser = count_in(0..=2000), default_value = "50")]
    limit: u64,
    /// Only events after this one
    #[arg(long, value_name = "ID", value_parser = event_id)]
    after: Option<EventId>,
}

/// The id of an event. Not a count: it is not written 10k.
#[derive(Debug, Clone, Copy)]
struct EventId(u64);

fn event_id(text: &str) -> Result<EventId, String> {
    text.parse().map(EventId).map_err(|_| format!("`{text}` is not the id of an event"))
}

pub(super) async fn run(args: EventsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    Filter::parse(&args.filter, At::<EventItem>::COLUMNS)
        .map_err(|error| UsageError(underlined(&args.filter, &error)))?;
    let after = args.after.map_or(0, |EventId(id)| id);
    // As it was typed: printed again it may be longer than a filter may be.
    let filter = path_segment(&args.filter);
    let path = format!("/v1/events?where={filter}&after={after}&limit={}", args.limit);
    if args.follow {
        return follow_events(path + "&follow=true", context).await;
    }
    let events: Cluster<EventItem> = context.admin().get(&path).await?;
    context.output().items(&events.items, || to_text(&events.items))?;
    Ok(ExitCode::SUCCESS)
}

async fn follow_events(path: String, context: &Context) -> anyhow::Result<ExitCode> {
    let mut items = Box::pin(follow::<EventItem>(context.admin(), path).await?);
    let output = context.output();
    let stop = stop_on_signal(PATIENCE);
    let mut newest = 0;
    while let Some(Some(item)) = stop.run_until_cancelled(items.next()).await {
        match item {
            // After a lost connection the daemon sends earlier events again.
            Followed::Item(event) if event.id <= newest => {}
            Followed::Item(event) => {
                newest = event.id;
                output.item(&event, || to_line(&event))?;
            }
            Followed::Lost { why, .. } => note(&format!("lc: {why}; retrying")),
            Followed::Ended(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn to_text(events: &[EventItem]) -> String {
    if events.is_empty() {
        return "No events.".to_owned();
    }
    events.iter().map(|event| to_line(event) + "\n").collect()
}

fn to_line(event: &EventItem) -> String {
    let EventItem { at, node, kind, subject, text, audit_id, .. } = event;
    let audit = audit_id.map(|id| format!(" (audit {id})")).unwrap_or_default();
    let node = printable(node.as_str());
    let subject = printable(subject);
    let text = printable(text);
    format!("{} {:<8} {node}  {subject}: {text}{audit}", show_time(*at), kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;
    use crate::protocol::admin::EventKind;

    #[test]
    fn an_event_is_one_line() {
        let event = |kind, subject: &str, text: &str, audit_id| EventItem {
            id: 7,
            at: 1_795_254_408_000,
            node: NodeId::new("edge-1"),
            kind,
            subject: subject.into(),
            text: text.into(),
            audit_id,
        };
        insta::assert_snapshot!(to_text(&[
            event(EventKind::Breaker, "fan-out bus", "fails: broken pipe", None),
            event(EventKind::Throttle, "stream 7", "all → 13% by the throttle", None),
            event(EventKind::Audit, "user 4711 zed_k", "ann (uid 1000): ban\u{1b}[2J", Some(1844)),
        ]));
        assert_eq!(to_text(&[]), "No events.");
    }
}
