//! Lists: what all commands that list something have in common.
//!
//! In: what the daemon answers, and the options `--where`, `--sort`, `--columns`, `--limit` and
//! `--watch`. Out: a table on a terminal, or JSON, one object per line. Always holds: the options
//! are checked before the daemon is asked; JSON objects are those of the admin API, whole.

mod columns;
mod watch;

use std::cmp::Ordering;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::{count_in, interval};
use super::context::Context;
use super::exit::UsageError;
use super::output::{now_ms, warn_unreachable};
use super::table::{show_in, table, terminal_width};
use crate::protocol::admin::Cluster;
use crate::protocol::filter::rows::At;
use crate::protocol::filter::{Column, Columns, Filter, FilterError, Row as _, Value};

pub(super) use columns::{ListColumn, left, right, text};
pub(super) use watch::Listed;

/// The options of every list.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ListArgs {
    /// Show only rows for which this holds, such as 'viewers>1k and (state=live or final)'
    #[arg(long = "where", value_name = "EXPR", help_heading = LIST_OPTIONS)]
    filter: Option<String>,
    /// Sort by these columns; a minus before a column sorts from high to low
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', allow_hyphen_values = true,
        help_heading = LIST_OPTIONS)]
    sort: Vec<String>,
    /// Show these columns in the table, or all of them
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', help_heading = LIST_OPTIONS)]
    columns: Vec<String>,
    /// Show at most this number of rows
    #[arg(long, value_name = "N", value_parser = count_in(1..=1_000_000),
        help_heading = LIST_OPTIONS)]
    limit: Option<u64>,
    /// List again after each interval, 1s if none is given; a pipe gets one object per interval
    #[arg(long, value_name = "TIME", value_parser = interval, num_args = 0..=1,
        require_equals = true, default_missing_value = "1s", help_heading = LIST_OPTIONS)]
    watch: Option<Duration>,
    /// The filter of the command itself.
    #[arg(skip)]
    standing: Option<&'static str>,
}

/// The help heading of the options of lists.
const LIST_OPTIONS: &str = "List options";

impl ListArgs {
    /// Returns how many rows to ask the daemon for, which answers at most `max`. A filter and an
    /// order choose among all of them. Without `--limit` it is `default`.
    ///
    /// # Errors
    /// [`UsageError`] if more rows are wanted than the daemon answers.
    pub(super) fn asked_of_daemon(&self, default: u64, max: u64) -> Result<u64, UsageError> {
        match self.limit {
            Some(limit) if limit > max => {
                Err(UsageError(format!("--limit {limit}: it must be 1 to {max} here")))
            }
            _ if self.chooses() => Ok(max),
            limit => Ok(limit.unwrap_or(default)),
        }
    }

    fn chooses(&self) -> bool {
        self.filter.is_some() || self.standing.is_some() || !self.sort.is_empty()
    }

    pub(super) fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    /// Returns the same options for a command that shows only such rows.
    pub(super) fn only(self, standing: &'static str) -> Self {
        Self { standing: Some(standing), ..self }
    }
}

/// A kind of list.
pub(super) struct List<T: 'static> {
    /// The columns, the one that identifies a row first and text that people wrote last.
    pub(super) columns: &'static [ListColumn<T>],
    /// The order without `--sort`; empty keeps the daemon's.
    pub(super) sort: &'static str,
    /// Shown in place of an empty table.
    pub(super) if_empty: &'static str,
}

/// A list with its options, checked.
pub(super) struct ListView<T: 'static> {
    list: &'static List<T>,
    /// The filter of the command itself.
    standing: Filter,
    filter: Filter,
    /// Names of columns, and whether from high to low.
    sort: Vec<(&'static str, bool)>,
    columns: Vec<&'static ListColumn<T>>,
    limit: usize,
    watch: Option<Duration>,
}

impl<T> List<T>
where
    T: Serialize + DeserializeOwned + 'static,
    for<'a> At<'a, T>: Columns,
{
    /// Checks the options.
    pub(super) fn view(&'static self, args: &ListArgs) -> Result<ListView<T>, UsageError> {
        let known = <At<'static, T> as Columns>::COLUMNS;
        let text = args.filter.as_deref().unwrap_or_default();
        let filter =
            Filter::parse(text, known).map_err(|error| UsageError(underlined(text, &error)))?;
        let standing = Filter::parse(args.standing.unwrap_or_default(), known);
        let standing = standing.map_err(|error| UsageError(error.to_string()))?;
        let sort = match args.sort.as_slice() {
            [] => self.sort.split(',').filter(|name| !name.is_empty()).collect(),
            given => given.iter().map(String::as_str).collect::<Vec<_>>(),
        };
        let sort = sort.into_iter().map(|given| {
            let name = given.strip_prefix('-').unwrap_or(given);
            Ok((column_named(name, known)?.name, name.len() < given.len()))
        });
        Ok(ListView {
            list: self,
            standing,
            filter,
            sort: sort.collect::<Result<_, UsageError>>()?,
            columns: self.chosen_columns(&args.columns)?,
            limit: args.limit.map_or(usize::MAX, |limit| limit as usize),
            watch: args.watch,
        })
    }

    /// Writes items as a table, in their order.
    pub(super) fn as_text(&'static self, items: &[T], now_ms: u64) -> String {
        let columns: Vec<_> = self.columns.iter().filter(|column| !column.is_extra()).collect();
        table_of(&columns, items, now_ms, self.if_empty, terminal_width())
    }

    fn chosen_columns(
        &'static self,
        names: &[String],
    ) -> Result<Vec<&'static ListColumn<T>>, UsageError> {
        match names {
            [] => Ok(self.columns.iter().filter(|column| !column.is_extra()).collect()),
            [all] if all == "all" => Ok(self.columns.iter().collect()),
            names => names.iter().map(|name| self.column(name)).collect(),
        }
    }

    fn column(&'static self, name: &str) -> Result<&'static ListColumn<T>, UsageError> {
        let name = name.strip_suffix("/s").unwrap_or(name);
        self.columns.iter().find(|column| column.name() == name).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(ListColumn::name).collect();
            UsageError(format!("no column `{name}`; there are {} and all", names.join(", ")))
        })
    }
}

fn column_named(name: &str, known: &[Column]) -> Result<Column, UsageError> {
    let name = name.strip_suffix("/s").unwrap_or(name);
    known.iter().copied().find(|column| column.name == name).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|column| column.name).collect();
        UsageError(format!("cannot sort by `{name}`; there are {}", names.join(", ")))
    })
}

/// Returns the error with the filter, and a mark under what is wrong in it.
pub(super) fn underlined(text: &str, error: &FilterError) -> String {
    use unicode_width::UnicodeWidthStr as _;
    let before = text.get(..error.at.start).unwrap_or_default();
    let wrong = text.get(error.at.clone()).unwrap_or_default();
    let marks = "^".repeat(wrong.width().max(1));
    format!("{error}\n  {text}\n  {}{marks}", " ".repeat(before.width()))
}

impl<T> ListView<T>
where
    T: Serialize + DeserializeOwned + 'static,
    for<'a> At<'a, T>: Columns,
{
    /// Asks the daemon and prints the list, once or until a signal.
    pub(super) async fn run(self, path: &str, context: &Context) -> anyhow::Result<ExitCode> {
        self.run_of::<Cluster<T>>(path, context).await
    }

    /// Does the same with an answer that has the list as a part.
    pub(super) async fn run_of<Whole>(
        self,
        path: &str,
        context: &Context,
    ) -> anyhow::Result<ExitCode>
    where
        Whole: DeserializeOwned + Into<Cluster<T>>,
    {
        if let Some(interval) = self.watch {
            return watch::run::<T, Whole>(&self, path, interval, context).await;
        }
        let answer: Cluster<T> = context.admin().get::<Whole>(path).await?.into();
        let unreachable = answer.unreachable;
        self.print(answer.items, context)?;
        warn_unreachable(&unreachable);
        Ok(ExitCode::SUCCESS)
    }

    /// Prints a list that was asked for already.
    pub(super) fn print(&self, items: Vec<T>, context: &Context) -> anyhow::Result<()> {
        let now_ms = now_ms();
        let chosen = self.choose(items, now_ms);
        context.output().items(&chosen.items, || self.table(&chosen, now_ms, terminal_width()))?;
        Ok(())
    }

    /// Filters, sorts and cuts the list.
    fn choose(&self, mut items: Vec<T>, now_ms: u64) -> Chosen<T> {
        items.retain(|item| {
            let row = At { item, now_ms };
            self.standing.matches(&row) && self.filter.matches(&row)
        });
        if !self.sort.is_empty() {
            items.sort_by(|a, b| self.compare(a, b, now_ms));
        }
        let left_out = items.len().saturating_sub(self.limit);
        items.truncate(self.limit);
        Chosen { items, left_out }
    }

    /// Rows without a value come last in either direction.
    fn compare(&self, a: &T, b: &T, now_ms: u64) -> Ordering {
        let a = At { item: a, now_ms };
        let b = At { item: b, now_ms };
        let by_column = |&(name, is_descending): &(&str, bool)| {
            let order = match (a.column(name), b.column(name)) {
                (Some(a), Some(b)) if is_descending => order(&b, &a),
                (Some(a), Some(b)) => order(&a, &b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            order.is_ne().then_some(order)
        };
        self.sort.iter().find_map(by_column).unwrap_or(Ordering::Equal)
    }

    fn table(&self, chosen: &Chosen<T>, now_ms: u64, width: Option<usize>) -> String {
        let if_empty = if self.filter.is_empty() {
            self.list.if_empty.to_owned()
        } else {
            format!("Nothing matches {}.", self.filter)
        };
        let text = table_of(&self.columns, &chosen.items, now_ms, &if_empty, width);
        match chosen.left_out {
            0 => text,
            more => format!("{text}\n… {more} more"),
        }
    }
}

fn table_of<T>(
    columns: &[&ListColumn<T>],
    items: &[T],
    now_ms: u64,
    if_empty: &str,
    width: Option<usize>,
) -> String {
    let headers: Vec<_> = columns.iter().map(|column| column.header()).collect();
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let mut rows = table(&headers);
    for item in items {
        rows.add(columns.iter().map(|column| column.show(item, now_ms)));
    }
    show_in(&rows, if_empty, width)
}

fn order(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.total_cmp(b),
        (Value::Count(a), Value::Count(b)) => a.cmp(b),
        (Value::Number(a), Value::Count(b)) => a.total_cmp(&(*b as f64)),
        (Value::Count(a), Value::Number(b)) => (*a as f64).total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.to_lowercase().cmp(&b.to_lowercase()).then(a.cmp(b)),
        (Value::Flag(a), Value::Flag(b)) => a.cmp(b),
        // A column has values of one kind.
        _ => Ordering::Equal,
    }
}

/// The rows of a list that are shown.
struct Chosen<T> {
    items: Vec<T>,
    /// Rows beyond the limit.
    left_out: usize,
}

#[cfg(test)]
pub(super) mod tests;
