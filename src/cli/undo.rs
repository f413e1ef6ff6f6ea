//! `lc undo`: takes back a change that an operator made.

use std::process::ExitCode;

use clap::Args;

use super::change::submit;
use super::complete;
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::UndoRequest;

/// Take back a change, by its audit entry
///
/// Bans, timeouts, lifted bans, fixed shares and changed settings of a stream become what they were
/// before, and a drained node accepts viewers again. A deleted comment is in the history again, for
/// those who join later; viewers that saw it vanish must reload. A rejected comment waits for
/// review again. The undo is an audit entry itself. What viewers have read cannot be taken back.
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// Number of the audit entry, as every change and lc audit show it
    #[arg(value_parser = audit_id, add = complete::audit_entries())]
    audit_id: AuditId,
    /// Note for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// The number of an audit entry. Not a count: it is not written 10k.
#[derive(Debug, Clone, Copy)]
struct AuditId(u64);

fn audit_id(text: &str) -> Result<AuditId, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.map(AuditId).ok_or_else(|| format!("`{text}` is not the number of an audit entry"))
}

pub(super) async fn run(args: UndoArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UndoRequest { audit_id: args.audit_id.0, note: args.note };
    let describe = |outcome: &_| outcome_text::undone(request.audit_id, outcome);
    submit("/v1/undo", &request, context, describe).await
}
