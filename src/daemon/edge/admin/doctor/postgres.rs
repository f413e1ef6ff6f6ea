//! Judges a PostgreSQL server: whether all nodes get their connections, and whether a ban that was
//! confirmed is kept.

use super::figures::NodeFigures;
use super::judgement::{Flaw, Judgement};
use crate::daemon::engines::server_settings::PostgresSettings;
use crate::protocol::admin::DoctorFinding;
use crate::protocol::quantity::counted;

pub(super) fn judge(
    server: &str,
    found: &PostgresSettings,
    figures: &NodeFigures,
) -> Vec<DoctorFinding> {
    let mut judgement = Judgement::new("postgresql", server);
    judgement.well(found.version.clone());
    let PostgresSettings { connections, max_connections, synchronous_commit, .. } = found;
    let used = format!("{connections} of {max_connections} connections");
    judgement.flaw_or(connections_flaw(server, found, figures), used);
    let well = format!("synchronous_commit {synchronous_commit}");
    judgement.flaw_or(commit_flaw(server, found), well);
    judgement.flaw_or(fsync_flaw(server, found), "fsync on".to_owned());
    judgement.finish(&[])
}

/// Every node may open all connections of its pool at one time.
fn connections_flaw(server: &str, found: &PostgresSettings, figures: &NodeFigures) -> Option<Flaw> {
    let PostgresSettings { max_connections, reserved_connections, pool, .. } = found;
    let nodes = figures.nodes.max(1);
    let wanted = nodes * pool;
    let unreserved = max_connections.saturating_sub(*reserved_connections);
    let usable = found.user_limit.unwrap_or(unreserved).min(unreserved);
    if wanted <= usable {
        return None;
    }
    let why = format!(
        "{} with postgres.max_connections = {pool} open up to {wanted}, and {usable} are for them: \
         bans, history and the review queue then fail on some nodes",
        counted(nodes, "node")
    );
    let raise = if usable < unreserved {
        format!("in psql: ALTER ROLE or ALTER DATABASE … CONNECTION LIMIT {wanted}")
    } else {
        let raised = wanted + reserved_connections;
        format!("in psql: ALTER SYSTEM SET max_connections = {raised}; then a restart")
    };
    let mend = match usable / nodes {
        0 => raise,
        fitting => format!("{raise}, or postgres.max_connections = {fitting}"),
    };
    let setting = if usable < unreserved { "CONNECTION LIMIT" } else { "max_connections" };
    let limit = found.user_limit.unwrap_or(*max_connections).min(*max_connections);
    let what = format!("{server} {setting} {limit}");
    Some(Flaw { check: "postgresql connections", what, why, mend })
}

/// A commit is on the server's own disk in any case: lcd asks for it on its connections.
fn commit_flaw(server: &str, found: &PostgresSettings) -> Option<Flaw> {
    let PostgresSettings { synchronous_commit, synchronous_standby_names, .. } = found;
    if synchronous_standby_names.is_empty() || synchronous_commit != "local" {
        return None;
    }
    let what = format!("{server} synchronous_commit local");
    let why = format!(
        "commits do not wait for the standby {synchronous_standby_names}: a fail-over loses the \
         latest bans and deletions"
    );
    let mend = "in psql: ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()";
    Some(Flaw { check: "postgresql commits", what, why, mend: mend.to_owned() })
}

fn fsync_flaw(server: &str, found: &PostgresSettings) -> Option<Flaw> {
    if found.fsync {
        return None;
    }
    let what = format!("{server} fsync off");
    let why = "a power failure may damage the database: streams, bans and the audit log".to_owned();
    let mend = "in psql: ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()".to_owned();
    Some(Flaw { check: "postgresql fsync", what, why, mend })
}
