//! `lc lag`: shows the lag of each consumer of the log.

use std::process::ExitCode;

use super::context::Context;
use super::output::{show, table, warn_unreachable};
use crate::protocol::admin::{Cluster, ConsumerLag};
use crate::protocol::quantity::counted;

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let lag: Cluster<ConsumerLag> = context.admin().get("/v1/lag").await?;
    context.output().items(&lag.items, || to_table(&lag.items))?;
    warn_unreachable(&lag.unreachable);
    Ok(ExitCode::SUCCESS)
}

/// Lists the partitions with lag or with records that are gone, largest first, and counts the
/// others in one line.
fn to_table(partitions: &[ConsumerLag]) -> String {
    let is_behind = |partition: &&ConsumerLag| partition.lag > 0 || partition.expired > 0;
    let mut behind: Vec<_> = partitions.iter().filter(is_behind).collect();
    behind.sort_by_key(|partition| std::cmp::Reverse((partition.expired, partition.lag)));
    let columns = ["consumer", "topic", ">partition", ">lag", ">gone", ">position", ">end"];
    let mut rows = table(&columns);
    for partition in &behind {
        rows.add_row([
            partition.group.clone(),
            partition.topic.clone(),
            partition.partition.to_string(),
            partition.lag.to_string(),
            partition.expired.to_string(),
            partition.position.to_string(),
            partition.end.to_string(),
        ]);
    }
    let caught_up = partitions.len() - behind.len();
    let gone: u64 = partitions.iter().map(|partition| partition.expired).sum();
    let note = match gone {
        0 => String::new(),
        _ => format!(
            "\n\nGone before their consumer read them: {}, removed from the log.",
            counted(gone, "record")
        ),
    };
    match (behind.len(), caught_up) {
        (0, 0) => "No consumer has read from the log yet.".to_owned(),
        (0, 1) => "The consumer position is at the end of the log.".to_owned(),
        (0, all) => format!("All {all} consumer positions are at the end of the log."),
        (_, 0) => format!("{}{note}", show(&rows, "")),
        (_, rest) => {
            format!("{}\n\nAt the end of the log: {rest} more.{note}", show(&rows, ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_lag_comes_first() {
        let lag = |group: &str, partition, lag| ConsumerLag {
            group: group.into(),
            topic: "comment_events".into(),
            partition,
            position: 100_000 - lag,
            end: 100_000,
            lag,
            expired: 0,
        };
        let partitions =
            [lag("archiver", 0, 12), lag("broadcast", 0, 0), lag("archiver", 7, 4_000)];
        insta::assert_snapshot!(to_table(&partitions));
        assert_eq!(
            to_table(&[lag("archiver", 0, 0)]),
            "The consumer position is at the end of the log."
        );
        for (expired, counted) in [(184, "184 records"), (1, "1 record")] {
            let text = to_table(&[ConsumerLag { expired, ..lag("archiver", 3, 0) }]);
            let expected = format!("Gone before their consumer read them: {counted}, removed");
            assert!(text.contains(&expected), "{text}");
        }
    }
}
