//! `lc audit`: lists the changes that operators made.

use std::process::ExitCode;

use clap::Args;

use super::arguments::count_in;
use super::context::Context;
use super::output::{show, show_time, table, warn_unreachable};
use crate::protocol::admin::{AuditEntry, Cluster};
use crate::protocol::printable::printable;

/// List the changes that operators made, newest first
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Maximum number of entries, up to 1000
    #[arg(long, value_name = "N", value_parser = count_in(1..=1000), default_value = "50")]
    limit: u64,
}

pub(super) async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/audit?limit={}", args.limit);
    let entries: Cluster<AuditEntry> = context.admin().get(&path).await?;
    context.output().items(&entries.items, || to_table(&entries.items))?;
    warn_unreachable(&entries.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn to_table(entries: &[AuditEntry]) -> String {
    let mut rows = table(&[">entry", "at (UTC)", "actor", "action", "target", "~request"]);
    for entry in entries {
        rows.add_row([
            entry.audit_id.to_string(),
            show_time(entry.at),
            printable(&entry.actor),
            printable(&entry.action),
            printable(&entry.target),
            printable(&request_fields(&entry.detail)),
        ]);
    }
    show(&rows, "No changes have been made yet.")
}

/// Writes the fields of the request as `name=value`, without those that are null.
fn request_fields(detail: &serde_json::Value) -> String {
    let Some(fields) = detail.as_object() else { return detail.to_string() };
    let given = fields.iter().filter(|(_, value)| !value.is_null());
    let pairs = given.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    pairs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_name_actor_action_and_target() {
        let entry = AuditEntry {
            audit_id: 17,
            at: 1_795_254_408_000,
            actor: "ann (uid 1000)".into(),
            action: "ban".into(),
            target: "user 4711".into(),
            detail: json!({"user": "troll42", "reason": "spam"}),
        };
        insta::assert_snapshot!(to_table(&[entry]));
    }
}
