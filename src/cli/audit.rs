//! `lc audit`: who changed what.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::output::{harmless, show, show_time, table, warn_unreachable};
use crate::protocol::admin::{AuditEntry, Cluster};
use crate::protocol::quantity::parse_count;

/// Read who changed what, newest first
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// How many entries
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "50")]
    limit: u64,
}

pub(super) async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/audit?limit={}", args.limit);
    let entries: Cluster<AuditEntry> = context.admin().get(&path).await?;
    context.output().items(&entries.items, || human(&entries.items))?;
    warn_unreachable(&entries.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn human(entries: &[AuditEntry]) -> String {
    let mut rows = table(&[">entry", "at (UTC)", "who", "did", "to", "~request"]);
    for entry in entries {
        rows.add_row([
            entry.audit_id.to_string(),
            show_time(entry.at),
            harmless(&entry.actor),
            harmless(&entry.action),
            harmless(&entry.target),
            harmless(&request(&entry.detail)),
        ]);
    }
    show(&rows, "Nothing was changed yet.")
}

/// The request's fields in short; what was not said is left out.
fn request(detail: &serde_json::Value) -> String {
    let Some(fields) = detail.as_object() else { return detail.to_string() };
    let said = fields.iter().filter(|(_, value)| !value.is_null());
    let short = said.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    short.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_name_the_actor_the_deed_and_the_target() {
        let entry = AuditEntry {
            audit_id: 17,
            at: 1_795_254_408_000,
            actor: "ann (uid 1000)".into(),
            action: "ban".into(),
            target: "user 4711".into(),
            detail: json!({"user": "troll42", "reason": "spam"}),
        };
        insta::assert_snapshot!(human(&[entry]));
    }
}
