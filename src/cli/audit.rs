//! `lc audit`: lists the changes that operators made.

use std::process::ExitCode;

use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::show_time;
use crate::protocol::admin::AuditEntry;

/// Entries that are shown without `--limit`.
const DEFAULT_LIMIT: u64 = 50;
/// The most that the daemon answers.
const MAX_LIMIT: u64 = 1_000;

static AUDIT: List<AuditEntry> = List {
    columns: &[
        right("id", |entry, _| entry.audit_id.to_string()),
        left("age", |entry: &AuditEntry, _| show_time(entry.at)).titled("at (UTC)"),
        left("action", |entry, _| entry.action.clone()),
        text("target", |entry, _| entry.target.clone()),
        text("by", |entry, _| entry.actor.clone()),
        text("detail", |entry: &AuditEntry, _| detail_of(entry)).titled("request"),
    ],
    sort: "",
    if_empty: "No changes have been made yet.",
};

pub(super) async fn run(args: ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let view = AUDIT.view(&args)?;
    let limit = args.asked_of_daemon(DEFAULT_LIMIT, MAX_LIMIT)?;
    view.run(&format!("/v1/audit?limit={limit}"), context).await
}

/// Writes the request, and what has become of it.
fn detail_of(entry: &AuditEntry) -> String {
    let undone = entry.undone_by.map(|id| format!(" (undone by {id})")).unwrap_or_default();
    format!("{}{undone}", request_fields(&entry.detail))
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
    use crate::cli::list::tests::assert_columns_are_known;
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
            undoes: None,
            undone_by: Some(18),
        };
        assert_columns_are_known(&AUDIT);
        insta::assert_snapshot!(AUDIT.as_text(&[entry], 0));
    }
}
