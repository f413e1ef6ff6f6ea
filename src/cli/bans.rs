//! `lc bans`: lists the active bans and timeouts.

use std::process::ExitCode;

use super::context::Context;
use super::output::{now_ms, show, show_ago, table, warn_unreachable};
use crate::protocol::admin::{Cluster, Sanction};
use crate::protocol::printable::printable;
use crate::protocol::quantity::show_duration;

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let bans: Cluster<Sanction> = context.admin().get("/v1/bans").await?;
    context.output().items(&bans.items, || to_table(&bans.items, now_ms()))?;
    warn_unreachable(&bans.unreachable);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn to_table(sanctions: &[Sanction], now_ms: u64) -> String {
    let mut rows = table(&[">user", "~name", "kind", "expires", "set", "by", "~reason"]);
    for sanction in sanctions {
        rows.add_row([
            sanction.user_id.to_string(),
            printable(sanction.name.as_deref().unwrap_or_default()),
            sanction.kind.as_str().to_owned(),
            sanction.expires_at.map_or("never".to_owned(), |at| {
                format!("in {}", show_duration(at.saturating_sub(now_ms)))
            }),
            show_ago(sanction.created_at, now_ms),
            printable(&sanction.created_by),
            printable(sanction.reason.as_deref().unwrap_or_default()),
        ]);
    }
    show(&rows, "No user is banned or timed out.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;
    use crate::protocol::admin::SanctionKind;

    #[test]
    fn the_table_shows_expiry_and_operator() {
        let now_ms = 1_795_254_408_000;
        let ban = Sanction {
            user_id: UserId(4711),
            kind: SanctionKind::Ban,
            name: Some("troll42".into()),
            reason: Some("spam".into()),
            created_by: "ann".into(),
            created_at: now_ms - 200_000,
            expires_at: None,
        };
        let timeout = Sanction {
            user_id: UserId(12),
            kind: SanctionKind::Timeout,
            name: None,
            reason: None,
            expires_at: Some(now_ms + 598_000),
            ..ban.clone()
        };
        insta::assert_snapshot!(to_table(&[ban, timeout], now_ms));
        assert_eq!(to_table(&[], now_ms), "No user is banned or timed out.");
    }
}
