//! `lc lag`: shows the lag of each consumer of the log.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::list::{List, ListArgs, left, right};
use crate::protocol::admin::ConsumerLag;

/// Show the lag of each consumer of the log, largest first
///
/// The consumers are the coordinator, which shows comments to viewers, the moderator and the
/// archiver, which fills the history. Each has a position in every partition of a topic.
///
/// group: the consumer. lag: offsets between the position and the end, which are about the records
/// that the consumer has yet to process. gone: offsets after the position whose records were
/// removed from the log before the consumer read them. position: the offset that it reads next.
/// end: the offset that the next record will get.
///
/// A terminal lists the partitions in which a consumer is behind or records are gone; pipes and
/// --all list all. In JSON gone is `expired`.
#[derive(Debug, Args)]
pub(super) struct LagArgs {
    /// Also list partitions that are read to the end
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    list: ListArgs,
}

static LAG: List<ConsumerLag> = List {
    columns: &[
        left("group", |lag, _| lag.group.clone()),
        left("topic", |lag, _| lag.topic.clone()),
        right("partition", |lag, _| lag.partition.to_string()),
        right("lag", |lag, _| lag.lag.to_string()),
        right("gone", |lag, _| lag.expired.to_string()),
        right("position", |lag, _| lag.position.to_string()),
        right("end", |lag, _| lag.end.to_string()),
    ],
    sort: "-gone,-lag",
    if_empty: "All consumers have read the log to its end.",
};

pub(super) async fn run(args: LagArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let all = args.all || context.json || args.list.filter().is_some();
    let list = if all { args.list } else { args.list.only("lag>0 or gone>0") };
    LAG.view(&list)?.run("/v1/lag", context).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;

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
        let gone = ConsumerLag { expired: 184, ..lag("archiver", 3, 0) };
        let partitions =
            [lag("archiver", 0, 12), lag("broadcast", 0, 0), lag("archiver", 7, 4_000), gone];
        assert_columns_are_known(&LAG);
        insta::assert_snapshot!(LAG.as_text(&partitions, 0));
    }
}
