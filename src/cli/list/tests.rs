use clap::Parser as _;

use super::*;
use crate::protocol::admin::ConsumerLag;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    list: ListArgs,
}

static LAG: List<ConsumerLag> = List {
    columns: &[
        left("group", |lag, _| lag.group.clone()),
        right("lag", |lag, _| lag.lag.to_string()),
        right("end", |lag: &ConsumerLag, _| lag.end.to_string()).extra(),
        text("topic", |lag, _| lag.topic.clone()),
    ],
    sort: "group",
    if_empty: "Nobody reads.",
};

fn lag(group: &str, lag: u64) -> ConsumerLag {
    ConsumerLag {
        group: group.into(),
        topic: "comment_events".into(),
        partition: 0,
        position: 0,
        end: 10,
        lag,
        ..ConsumerLag::default()
    }
}

fn view(line: &str) -> Result<ListView<ConsumerLag>, UsageError> {
    let words = std::iter::once("lc").chain(line.split('|').filter(|word| !word.is_empty()));
    LAG.view(&Line::try_parse_from(words).unwrap().list)
}

fn shown(line: &str, width: Option<usize>) -> String {
    let view = view(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let chosen = view.choose(vec![lag("b", 5), lag("A", 70), lag("c", 5), lag("d", 0)], 0);
    view.table(&chosen, 0, width)
}

#[test]
fn the_options_choose_rows_columns_and_order() {
    let lines = [
        "",
        "--sort|-lag,group|--limit|2",
        "--where|lag>0 !group=c|--columns|lag,group,end",
        "--columns|all|--sort|lag",
        "--where|lag>1k",
    ];
    let shown = lines.map(|line| format!("── {line} ──\n{}", shown(line, None)));
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_is_wrong_in_an_option_is_shown() {
    let errors = ["--where|lag>1k and lagg>2", "--where|lag>5ms", "--sort|size", "--columns|size"];
    let errors = errors.map(|line| view(line).err().unwrap().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn an_interval_is_optional() {
    assert_eq!(view("").unwrap().watch, None);
    assert_eq!(view("--watch").unwrap().watch, Some(Duration::from_secs(1)));
    assert_eq!(view("--watch=5s").unwrap().watch, Some(Duration::from_secs(5)));
    assert!(Line::try_parse_from(["lc", "--watch=1ms"]).is_err());
}

/// Checks that each column of a list can be filtered and sorted by.
pub(crate) fn assert_columns_are_known<T>(list: &'static List<T>)
where
    T: Serialize + DeserializeOwned + 'static,
    for<'a> At<'a, T>: Columns,
{
    let known = <At<'static, T> as Columns>::COLUMNS;
    for column in list.columns {
        assert!(known.iter().any(|known| known.name == column.name()), "{}", column.name());
    }
    for name in list.sort.split(',').filter(|name| !name.is_empty()) {
        column_named(name.trim_start_matches('-'), known).unwrap();
    }
}
