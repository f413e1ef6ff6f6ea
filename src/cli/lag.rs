//! `lc lag`: shows the lag of each consumer of the log.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::UNKNOWN;
use crate::protocol::NodeId;
use crate::protocol::admin::{Cluster, ConsumerLag, GroupLag};
use crate::protocol::quantity::{show_duration, show_rate};

/// Show the lag of each consumer of the log, largest first
///
/// The consumers are the coordinator, which shows comments to viewers, the moderator and the
/// archiver, which fills the history. Each has a position in every partition of a topic.
///
/// group: the consumer. lag: offsets between the position and the end, which are about the records
/// that the consumer has yet to process. in time: age of the oldest of them. change: of the lag per
/// second, over the last 30 s; unknown if nobody has asked this node lately. owner: the node that
/// reads the partition. gone: offsets after the position whose records were removed from the log
/// before the consumer read them. position: the offset that it reads next. end: the offset that the
/// next record will get.
///
/// A terminal lists the partitions in which a consumer is behind or records are gone; pipes and
/// --all list all. In JSON gone is `expired`, in time is `oldest_ms`. With --groups each consumer
/// is one line: the sums over its partitions, the nodes that read them, and the partition that is
/// furthest behind with its busiest streams.
#[derive(Debug, Args)]
pub(super) struct LagArgs {
    /// Also list partitions that are read to the end
    #[arg(long)]
    all: bool,
    /// Add up the partitions of each consumer
    #[arg(long, conflicts_with = "all")]
    groups: bool,
    #[command(flatten)]
    list: ListArgs,
}

static LAG: List<ConsumerLag> = List {
    columns: &[
        left("group", |lag, _| lag.group.clone()),
        left("topic", |lag, _| lag.topic.clone()),
        right("partition", |lag, _| lag.partition.to_string()),
        right("lag", |lag, _| lag.lag.to_string()),
        right("in_time", |lag: &ConsumerLag, _| time_of(lag.oldest_ms)).titled("in time"),
        right("change", |lag, _| change_of(lag.change_per_s)),
        left("owner", |lag, _| lag.owner.as_ref().map_or(UNKNOWN.to_owned(), NodeId::to_string)),
        right("gone", |lag, _| lag.expired.to_string()),
        right("position", |lag, _| lag.position.to_string()),
        right("end", |lag, _| lag.end.to_string()),
    ],
    sort: "-gone,-lag",
    if_empty: "All consumers have read the log to its end.",
};

static GROUPS: List<GroupLag> = List {
    columns: &[
        left("group", |group, _| group.group.clone()),
        left("topic", |group, _| group.topic.clone()),
        right("behind", |group, _| group.lag.to_string()),
        right("in_time", |group: &GroupLag, _| time_of(group.oldest_ms)).titled("in time"),
        right("change", |group, _| change_of(group.change_per_s)),
        right("gone", |group, _| group.expired.to_string()),
        right("partitions", |group, _| group.partitions.len().to_string()),
        left("worst", |group, _| worst_of(group)),
        text("owners", |group, _| group.owners_text()),
    ],
    sort: "-gone,-behind",
    if_empty: "No consumer has a position in the log.",
};

pub(super) async fn run(args: LagArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.groups {
        return GROUPS.view(&args.list)?.run_of::<Cluster<ConsumerLag>>("/v1/lag", context).await;
    }
    let all = args.all || context.json || args.list.filter().is_some();
    let list = if all { args.list } else { args.list.only("lag>0 or gone>0") };
    LAG.view(&list)?.run("/v1/lag", context).await
}

fn time_of(oldest_ms: Option<u64>) -> String {
    oldest_ms.map_or_else(|| UNKNOWN.to_owned(), show_duration)
}

/// Writes a change per second with its sign.
fn change_of(change: Option<f64>) -> String {
    match change {
        None => UNKNOWN.to_owned(),
        Some(up) if up >= 0.05 => format!("+{}/s", show_rate(up)),
        Some(down) if down <= -0.05 => format!("-{}/s", show_rate(-down)),
        Some(_) => "0/s".to_owned(),
    }
}

/// Names the partition that is furthest behind and its busiest streams.
fn worst_of(group: &GroupLag) -> String {
    let Some((partition, lag)) = group.worst().filter(|(_, lag)| *lag > 0) else {
        return UNKNOWN.to_owned();
    };
    let streams = group.worst_streams.iter().map(|stream| format!(" {stream}"));
    let streams: String = streams.collect();
    let of = if streams.is_empty() { "" } else { ", stream" };
    format!("{partition}: {lag}{of}{streams}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::StreamId;

    #[test]
    fn the_largest_lag_comes_first() {
        let lag = |group: &str, partition, lag| ConsumerLag {
            group: group.into(),
            topic: "comment_events".into(),
            partition,
            position: 100_000 - lag,
            end: 100_000,
            lag,
            ..ConsumerLag::default()
        };
        let gone = ConsumerLag { expired: 184, ..lag("archiver", 3, 0) };
        let partitions =
            [lag("archiver", 0, 12), lag("broadcast", 0, 0), lag("archiver", 7, 4_000), gone];
        assert_columns_are_known(&LAG);
        insta::assert_snapshot!(LAG.as_text(&partitions, 0));
    }

    #[test]
    fn groups_have_their_sums_and_worst_partition() {
        let of = |partition, lag, owner: &str| ConsumerLag {
            group: "archiver".into(),
            topic: "comment_events".into(),
            partition,
            lag,
            oldest_ms: Some(lag * 2),
            change_per_s: Some(30.0),
            owner: Some(NodeId::new(owner)),
            ..ConsumerLag::default()
        };
        let worst = ConsumerLag { streams: vec![StreamId(7), StreamId(9)], ..of(41, 4_000, "a") };
        assert_columns_are_known(&GROUPS);
        let text = GROUPS.as_text(&GroupLag::of(&[of(0, 12, "b"), worst]), 0);
        let line = text.lines().last().unwrap();
        for part in ["4012", "8s", "+60/s", "41: 4000, stream 7 9", "a 1  b 1"] {
            assert!(line.contains(part), "{part}: {text}");
        }
        assert_eq!([Some(-1.0), Some(0.0), None].map(change_of), ["-1/s", "0/s", "–"]);
    }
}
