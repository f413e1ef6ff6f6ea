//! Judges a Cassandra or ScyllaDB cluster: which servers may be away while comments are archived,
//! and whether every copy gets all of them.

use super::figures::NodeFigures;
use super::judgement::{Flaw, Judgement};
use crate::daemon::engines::server_settings::{CassandraSettings, CommentsTable};
use crate::protocol::admin::DoctorFinding;
use crate::protocol::quantity::{counted, show_duration, show_rate};

/// With so many copies a quorum is reached while one server is away.
const ADVISED_COPIES: u32 = 3;
/// Servers keep writes this long for one that is away: the default of Cassandra and ScyllaDB. A
/// table with a shorter `gc_grace_seconds` keeps them only that long.
const HINT_WINDOW_S: u64 = 3 * 3_600;
/// The default of Cassandra and ScyllaDB.
const DEFAULT_GC_GRACE_S: u64 = 10 * 24 * 3_600;

pub(super) fn judge(
    server: &str,
    found: &CassandraSettings,
    figures: &NodeFigures,
) -> Vec<DoctorFinding> {
    let mut judgement = Judgement::new("cassandra", server);
    let keyspace = Keyspace { found, figures };
    judgement.well(format!(
        "{} on {} in {}",
        found.keyspace,
        counted(found.servers.into(), "server"),
        keyspace.place()
    ));
    judgement.flaw_or(keyspace.strategy(), found.strategy.clone());
    if let Some(copies) = found.copies {
        let well = format!("LOCAL_QUORUM {} of {copies}", quorum(copies));
        judgement.flaw_or(keyspace.copies(copies), well);
    }
    if let Some(agrees) = found.schema_agrees {
        judgement.flaw_or(keyspace.schema(agrees), "one schema".to_owned());
    }
    if let Some(comments) = &found.comments {
        judgement.flaw_or(keyspace.compaction(comments), comments.compaction.clone());
        let gc_grace = show_duration(comments.gc_grace_s * 1_000);
        judgement.flaw_or(keyspace.gc_grace(comments), format!("gc_grace_seconds {gc_grace}"));
    }
    judgement.finish(&found.unread)
}

fn quorum(copies: u32) -> u32 {
    copies / 2 + 1
}

struct Keyspace<'a> {
    found: &'a CassandraSettings,
    figures: &'a NodeFigures,
}

impl Keyspace<'_> {
    fn flaw(&self, check: &'static str, setting: &str, why: String, mend: String) -> Flaw {
        Flaw { check, what: format!("Cassandra {} {setting}", self.found.keyspace), why, mend }
    }

    /// Names the data centre that is queried.
    fn place(&self) -> &str {
        self.found.datacenter.as_deref().unwrap_or("the cluster")
    }

    /// Returns the command that gives the data centre so many copies. The others keep theirs only
    /// if they are named as well.
    fn replicate(&self, copies: u32) -> String {
        let CassandraSettings { keyspace, datacenters, servers, .. } = self.found;
        let others = if *datacenters > 1 { ", …" } else { "" };
        let first = if copies > *servers { "more servers; then " } else { "" };
        // Without a name there is nothing that could be pasted.
        let datacenter = self.found.datacenter.as_deref().unwrap_or("…");
        format!(
            "{first}in cqlsh: ALTER KEYSPACE \"{keyspace}\" WITH replication = {{'class': \
             'NetworkTopologyStrategy', '{datacenter}': {copies}{others}}}; then nodetool repair \
             --full {keyspace}"
        )
    }

    fn alter_table(&self, setting: &str) -> String {
        format!("in cqlsh: ALTER TABLE \"{}\".comments WITH {setting}", self.found.keyspace)
    }

    /// Returns a clause about the comments that are not archived meanwhile.
    fn waiting(&self) -> String {
        let rate = self.figures.comments_per_second;
        if rate < 1.0 {
            return "comments wait in the log".to_owned();
        }
        format!("{} comments/s wait in the log", show_rate(rate))
    }

    /// One data centre has all copies, whatever the strategy.
    fn strategy(&self) -> Option<Flaw> {
        let CassandraSettings { strategy, datacenters, .. } = self.found;
        if strategy != "SimpleStrategy" || *datacenters <= 1 {
            return None;
        }
        let why = format!(
            "copies are in any of {datacenters} data centres: where {} has too few, LOCAL_QUORUM is \
             not reached, nothing is archived, and {}",
            self.place(),
            self.waiting()
        );
        let mend = self.replicate(self.found.asked.copies.max(ADVISED_COPIES));
        Some(self.flaw("cassandra replication", strategy, why, mend))
    }

    fn copies(&self, copies: u32) -> Option<Flaw> {
        let CassandraSettings { servers, asked, .. } = self.found;
        let needed = quorum(copies);
        let place = self.place();
        let why = if copies == 0 || needed > *servers {
            format!(
                "LOCAL_QUORUM is never reached on {} in {place}: nothing is archived, and {}",
                counted((*servers).into(), "server"),
                self.waiting()
            )
        } else if *servers > 1 && copies < ADVISED_COPIES {
            format!(
                "LOCAL_QUORUM is {needed} of {copies}: while one of {servers} servers is away, the \
                 archiver waits, and {}",
                self.waiting()
            )
        } else if copies < asked.copies {
            format!("lcd asks for {}: one server less may be lost", asked.copies)
        } else {
            return None;
        };
        let least = if *servers > 1 { ADVISED_COPIES } else { 1 };
        let wanted = asked.copies.max(least);
        let mend = if copies == wanted {
            format!("more servers in {place}")
        } else {
            self.replicate(wanted)
        };
        let setting = format!("replication factor {copies} in {place}");
        Some(self.flaw("cassandra replication", &setting, why, mend))
    }

    fn schema(&self, agrees: bool) -> Option<Flaw> {
        if agrees {
            return None;
        }
        let why = "calls that need the newer tables fail on the servers that lack them".to_owned();
        let mend =
            "nodetool describecluster names the servers; restart those that differ".to_owned();
        Some(self.flaw("cassandra schema", "servers have different schemas", why, mend))
    }

    fn compaction(&self, comments: &CommentsTable) -> Option<Flaw> {
        let asked = self.found.asked.compaction.as_ref()?;
        let CommentsTable { compaction, .. } = comments;
        if asked.contains(&format!("'{compaction}'")) {
            return None;
        }
        let why = format!(
            "comments expire after {}, and their files are merged again and again instead of being \
             dropped whole: the disk holds expired ones as well",
            show_duration(self.found.asked.retention_s * 1_000)
        );
        let mend = self.alter_table(&format!("compaction = {asked}"));
        Some(self.flaw("cassandra compaction", &format!("comments has {compaction}"), why, mend))
    }

    fn gc_grace(&self, comments: &CommentsTable) -> Option<Flaw> {
        let CommentsTable { gc_grace_s, .. } = comments;
        if *gc_grace_s >= HINT_WINDOW_S || self.found.servers <= 1 {
            return None;
        }
        let kept = show_duration(*gc_grace_s * 1_000);
        let why = format!(
            "a server that was away for longer than {kept} does not get what it missed: viewers do \
             not see it on pages of history from there until a repair"
        );
        let mend = self.alter_table(&format!("gc_grace_seconds = {DEFAULT_GC_GRACE_S}"));
        Some(self.flaw("cassandra hints", &format!("comments gc_grace_seconds {kept}"), why, mend))
    }
}
