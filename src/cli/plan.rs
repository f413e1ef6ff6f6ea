//! `lc plan`: prints what an event needs, from measured costs. Needs no daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::arguments::{count_in, non_zero_duration, path};
use super::context::Context;
use super::exit;
use super::loadgen::EncodingArg;
use super::output::note;
use super::table::{show, table};
use crate::loadgen::WireForm;
use crate::plan::check::{CheckedFigure, check, read_runs};
use crate::plan::costs::{Cost, CostFile, Costs};
use crate::plan::{EdgeMachine, EventInputs, EventPlan, PlanFigure, plan, with_unit};
use crate::policy::throttle::{ThrottlePolicy, ThrottleRules};
use crate::protocol::quantity::{parse_count, parse_duration, parse_share};

/// Compute what an event needs: edges, coordinators, archivers, bandwidth, memory
///
/// Each figure comes with its formula and with the load at which something is first full. The
/// constants are costs that benchmarks measured; docs/capacity.md explains them. Needs no daemon.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    /// Viewers of all streams together
    #[arg(long, value_name = "N", required_unless_present = "check",
          value_parser = count_in(1..=1_000_000_000))]
    viewers: Option<u64>,

    /// Accepted comments of all streams together, such as 10k, 10k/s or 600/min
    #[arg(long, value_name = "RATE", required_unless_present = "check", value_parser = rate,
          allow_negative_numbers = true)]
    rate: Option<f64>,

    /// Streams, which share viewers and comments evenly
    #[arg(long, value_name = "N", default_value = "1", value_parser = count_in(1..=1_000_000))]
    streams: u64,

    /// Comments that a viewer is shown [default: what the throttle's default levels leave]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    shown: Option<f64>,

    /// The form of messages to viewers; browsers offer deflate
    #[arg(long, value_enum, default_value = "json+deflate")]
    encoding: EncodingArg,

    /// Viewers connect with TLS to the edges, not to a proxy
    #[arg(long)]
    tls: bool,

    /// Viewers send reactions, whose totals are sent twice per second
    #[arg(long)]
    reactions: bool,

    /// Cores of an edge
    #[arg(long, value_name = "N", default_value = "16", value_parser = count_in(1..=4096))]
    cores: u64,

    /// Uplink of an edge in bits per second, such as 2.5g
    #[arg(long, value_name = "BITS", default_value = "10g", value_parser = bits)]
    uplink: BitsPerSecond,

    /// Memory of an edge, such as 32g
    #[arg(long, value_name = "BYTES", default_value = "32g", value_parser = bytes)]
    memory: Bytes,

    /// Open files that a process of an edge may have
    #[arg(long, value_name = "N", default_value = "1048576", value_parser = count_in(1_000..=1 << 30))]
    files: u64,

    /// Share of processor, uplink and memory to plan for
    #[arg(long, value_name = "SHARE", default_value = "70%", value_parser = fill)]
    fill: f64,

    /// Edges that may be lost
    #[arg(long, value_name = "N", default_value = "1", value_parser = count_in(0..=10_000))]
    spare: u64,

    /// Time between two pings of a viewer, gateway.ping_interval
    #[arg(long, value_name = "TIME", default_value = "30s", allow_hyphen_values = true,
        value_parser = non_zero_duration)]
    ping_interval: Duration,

    /// Time between two messages with the number of viewers, delivery.presence_interval; 0s: none
    #[arg(long, value_name = "TIME", default_value = "2s", allow_hyphen_values = true,
        value_parser = parse_duration)]
    presence_interval: Duration,

    /// Costs measured on your machines, which replace the built-in ones; `scripts/bench --costs
    /// FILE` writes them
    #[arg(long, value_name = "FILE", value_parser = path)]
    costs: Option<PathBuf>,

    /// Compare runs with what is planned for their loads, in place of a plan; `scripts/bench
    /// cluster` and `scripts/million` write the file. Exit code 2 if one is more than 25 % off
    #[arg(long, value_name = "FILE", value_parser = path, conflicts_with_all = ["viewers", "rate"])]
    check: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  lc plan --viewers 5m --rate 10k --shown 20/s --cores 16
  lc plan --viewers 200k --rate 500 --streams 300 --uplink 2.5g --tls
  lc plan --viewers 5m --rate 10k --shown 20/s --json | jq .edges.value";

/// Parses a rate per second. Also `/min` and `/h`, and fractions.
fn rate(text: &str) -> Result<f64, String> {
    let invalid = || format!("`{text}` is not a rate: write 0.5, 20/s, 10k/s or 600/min");
    let (count, seconds) = match text.trim().split_once('/') {
        None => (text.trim(), 1.0),
        Some((count, "s")) => (count, 1.0),
        Some((count, "min")) => (count, 60.0),
        Some((count, "h")) => (count, 3600.0),
        Some(_) => return Err(invalid()),
    };
    let number = match parse_count(count) {
        Ok(count) => count as f64,
        Err(_) => count.parse().map_err(|_| invalid())?,
    };
    let per_second: f64 = number / seconds;
    if !(per_second.is_finite() && per_second >= 0.0) {
        return Err(invalid());
    }
    if per_second > MOST_PER_SECOND {
        return Err(format!("{text} is more than 100m/s, for which nothing here was measured"));
    }
    Ok(per_second)
}

const MOST_PER_SECOND: f64 = 1e8;

/// An uplink.
#[derive(Debug, Clone, Copy, PartialEq)]
struct BitsPerSecond(u64);

/// A size.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bytes(u64);

/// Parses bits per second: `2.5g`, `10gbit/s`.
fn bits(text: &str) -> Result<BitsPerSecond, String> {
    let lower = text.trim().to_ascii_lowercase();
    if lower.contains("byte") || lower.ends_with("b/s") && !lower.ends_with("bit/s") {
        return Err(format!("`{text}` is in bytes: write bits per second, such as 2.5g"));
    }
    let number = ["bit/s", "bits/s", "bps", "bit"]
        .iter()
        .find_map(|unit| lower.strip_suffix(unit))
        .unwrap_or(&lower);
    match parse_count(number.trim()) {
        Ok(bits) if (1_000_000..=100_000_000_000_000).contains(&bits) => Ok(BitsPerSecond(bits)),
        Ok(_) => {
            Err(format!("`{text}`: an uplink has 1m to 100000g bits per second, such as 2.5g"))
        }
        Err(_) => Err(format!("`{text}` is not an uplink: write bits per second, such as 2.5g")),
    }
}

/// Parses a size: `32g`, `32GB`, `32 GiB`.
fn bytes(text: &str) -> Result<Bytes, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, power) = match lower.strip_suffix("ib") {
        Some(binary) => (binary, 1.024_f64),
        None => (lower.strip_suffix('b').unwrap_or(&lower), 1.0),
    };
    let decimal = parse_count(number.trim())
        .map_err(|_| format!("`{text}` is not a size: write 32g, 32GB or 32GiB"))?;
    let exponent = match number.trim().chars().next_back() {
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        _ => 0,
    };
    let bytes = (decimal as f64 * power.powi(exponent)).round() as u64;
    if (100_000_000..=100_000_000_000_000).contains(&bytes) {
        Ok(Bytes(bytes))
    } else {
        Err(format!("`{text}`: an edge has 100m to 100000g bytes of memory, such as 32g"))
    }
}

fn fill(text: &str) -> Result<f64, String> {
    let share = parse_share(text)?.share();
    if (0.05..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(format!("`{text}`: plan for 5% to 100% of a machine, such as 70%"))
    }
}

impl PlanArgs {
    fn inputs(&self) -> EventInputs {
        let form = WireForm::from(self.encoding);
        // Without --check, both are required.
        let viewers = self.viewers.unwrap_or_default();
        let rate = self.rate.unwrap_or_default();
        let per_stream = rate / self.streams as f64;
        let presence_s = self.presence_interval.as_secs_f64();
        EventInputs {
            viewers,
            comments_per_second: rate,
            streams: self.streams,
            shown_per_second: self.shown.unwrap_or_else(|| shown_by_throttle(per_stream)),
            encoding: form.encoding,
            deflate: form.deflate,
            tls: self.tls,
            reactions: self.reactions,
            presence_per_second: if presence_s > 0.0 { 1.0 / presence_s } else { 0.0 },
            ping_interval_s: self.ping_interval.as_secs_f64(),
            machine: EdgeMachine {
                cores: self.cores,
                uplink_bits_per_second: self.uplink.0,
                memory_bytes: self.memory.0,
                files: self.files,
            },
            fill: self.fill,
            spare: self.spare,
        }
    }
}

/// Returns the comments per second that the throttle shows of a stream's, with its default levels.
fn shown_by_throttle(per_second: f64) -> f64 {
    let rules = ThrottleRules::default();
    let mut policy = ThrottlePolicy::new();
    policy.observe(per_second, Instant::now(), &rules);
    per_second * policy.sample_rate(&rules).share()
}

/// The answer as JSON: the plan, and the constants in it.
#[derive(Debug, Serialize)]
struct PlanAnswer<'a> {
    #[serde(flatten)]
    plan: &'a EventPlan,
    costs: &'a CostFile,
}

/// Prints the plan.
///
/// # Errors
/// The costs cannot be read.
pub(super) fn run(args: &PlanArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let mut costs = Costs::built_in()?;
    if let Some(path) = &args.costs {
        let named = || format!("the costs in {}", path.display());
        costs = costs.with(CostFile::read(path).with_context(named)?).with_context(named)?;
    }
    if let Some(path) = &args.check {
        return compare(path, &costs, context);
    }
    let mut plan = match plan(&args.inputs(), &costs) {
        Ok(plan) => plan,
        Err(error) => {
            note(&format!("lc: {error}"));
            return Ok(exit::USAGE.into());
        }
    };
    if args.shown.is_none() {
        plan.notes.push(throttle_note(&plan.inputs));
    }
    let answer = PlanAnswer { plan: &plan, costs: costs.file() };
    context.output().item(&answer, || to_text(&plan, &costs, columns()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints runs beside their plans.
fn compare(path: &Path, costs: &Costs, context: &Context) -> anyhow::Result<ExitCode> {
    let runs = read_runs(path).with_context(|| format!("the runs in {}", path.display()))?;
    let figures: Vec<_> = runs.iter().flat_map(|run| check(run, costs)).collect();
    context.output().items(&figures, || comparison(&figures))?;
    let agree = figures.iter().all(|figure| figure.agrees);
    Ok(if agree { ExitCode::SUCCESS } else { exit::THRESHOLD.into() })
}

/// Writes a line per part of a run, with cores as the unit.
fn comparison(figures: &[CheckedFigure]) -> String {
    let mut rows =
        table(&["run", "part", ">planned cores", ">used cores", ">planned ÷ used", "within 25 %"]);
    for figure in figures {
        let at_most = if figure.at_most { "≤ " } else { "" };
        rows.add_row([
            figure.run.clone(),
            figure.part.as_str().to_owned(),
            format!("{at_most}{}", with_unit(figure.planned_cores, "")),
            with_unit(figure.used_cores, ""),
            format!("{:.2}", figure.ratio),
            if figure.agrees { "yes" } else { "no" }.to_owned(),
        ]);
    }
    let note = "≤: the part has no cost of its own; the plan is that of all stages together";
    format!("{}\n{note}\n", show(&rows, "").trim_end())
}

fn throttle_note(inputs: &EventInputs) -> String {
    format!(
        "without --shown, the default levels of the throttle show {} of the {} comments/s of a \
         stream",
        with_unit(inputs.shown_per_second, ""),
        with_unit(inputs.comments_per_stream(), "")
    )
}

/// Writes the plan for a screen of so many columns.
fn to_text(plan: &EventPlan, costs: &Costs, columns: usize) -> String {
    let mut text = String::new();
    for figure in &plan.figures {
        let PlanFigure { name, value, unit, formula, first_full } = figure;
        let head = format!("{:<13}{:<24}", name.replace('_', " "), with_unit(*value, unit));
        text.push_str(&paragraph(&head, &format!("= {formula}"), columns));
        if let Some(full) = first_full {
            let at = with_unit(full.at, "");
            let full = format!("first full: {}, at {at} {}", full.resource, full.unit);
            text.push_str(&paragraph(&" ".repeat(FIGURE_COLUMNS), &full, columns));
        }
    }
    text.push('\n');
    for note in &plan.notes {
        text.push_str(&paragraph("note: ", note, columns));
    }
    text.push_str("\nConstants, and what measured them:\n");
    for (name, cost) in costs.file().iter() {
        let Cost { value, unit, command, version, measured, .. } = cost;
        let own = if costs.own().contains(&name) { "from --costs; " } else { "" };
        let head = format!("{:<23}{:<18}", name.as_str(), with_unit(*value, unit));
        let by = format!("{own}{command} ({version}, {measured})");
        text.push_str(&paragraph(&head, &by, columns));
    }
    text
}

/// Columns of a figure's name and value.
const FIGURE_COLUMNS: usize = 37;

/// Writes a text behind a head, and its further lines below the first.
fn paragraph(head: &str, text: &str, columns: usize) -> String {
    let indent = head.chars().count();
    let mut lines = String::from(head);
    let mut at = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if at > indent && at + 1 + length > columns {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            at = indent;
        }
        if at > indent {
            lines.push(' ');
            at += 1;
        }
        lines.push_str(word);
        at += length;
    }
    lines.push('\n');
    lines
}

/// Returns the columns of the terminal, within what can be read.
fn columns() -> usize {
    let (columns, _) = crossterm::terminal::size().unwrap_or((100, 0));
    usize::from(columns).clamp(80, 160)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::RunPart;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: PlanArgs,
    }

    fn parse(line: &str) -> Result<PlanArgs, String> {
        let words = ["plan"].into_iter().chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
    }

    fn text(line: &str) -> String {
        let costs = Costs::built_in().unwrap();
        let inputs = parse(line).unwrap().inputs();
        to_text(&plan(&inputs, &costs).unwrap(), &costs, 100)
    }

    /// docs/capacity.md explains this plan. With UPDATE_DOCUMENTS=1 it is written there again.
    #[test]
    fn the_document_has_the_plan_of_a_large_event() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/capacity.md");
        let document = std::fs::read_to_string(path).unwrap();
        let command = "lc plan --viewers 5m --rate 10k --shown 20/s --cores 16";
        let (_, line) = command.split_once("plan ").unwrap();
        let (before, rest) = document.split_once(&format!("$ {command}\n")).unwrap();
        let (shown, after) = rest.split_once("```\n").unwrap();
        let text = text(line);
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(path, format!("{before}$ {command}\n{text}```\n{after}")).unwrap();
            return;
        }
        assert_eq!(shown, text);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_narrow_terminal_cuts_nothing() {
        let costs = Costs::built_in().unwrap();
        let inputs = parse("--viewers 5m --rate 10k").unwrap().inputs();
        let plan = plan(&inputs, &costs).unwrap();
        let words = |columns| {
            let text = to_text(&plan, &costs, columns);
            text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words(80), words(160));
        let lines = to_text(&plan, &costs, 80);
        assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    }

    #[test]
    fn the_plan_of_many_streams() {
        let line =
            "--viewers 200k --rate 500 --streams 300 --uplink 2.5g --tls --reactions --cores 8";
        insta::assert_snapshot!(text(line));
    }

    #[test]
    fn without_shown_the_throttle_decides() {
        for (rate, streams, shown) in
            [("4k", 1, 4_000.0), ("10k", 1, 5_000.0), ("10k", 10, 1_000.0)]
        {
            let args = parse(&format!("--viewers 5m --rate {rate} --streams {streams}")).unwrap();
            assert_eq!(args.inputs().shown_per_second, shown, "{rate} over {streams}");
        }
    }

    /// Scripts read these keys.
    #[test]
    fn the_keys_of_the_json_stay() {
        let costs = Costs::built_in().unwrap();
        let inputs = parse("--viewers 5m --rate 10k --shown 20/s").unwrap().inputs();
        let plan = plan(&inputs, &costs).unwrap();
        let json = serde_json::to_value(PlanAnswer { plan: &plan, costs: costs.file() }).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        insta::assert_snapshot!(format!(
            "{:?}\ninputs {:?}\nfigures {:?}\nedges {:?}\nfirst_full {:?}\ncosts {:?}\nwrite_us {:?}",
            keys(&json),
            keys(&json["inputs"]),
            keys(&json["figures"]),
            keys(&json["figures"]["edges"]),
            keys(&json["figures"]["edges"]["first_full"]),
            keys(&json["costs"]),
            keys(&json["costs"]["write_us"]),
        ));
    }

    #[test]
    fn a_check_needs_no_event() {
        let args = parse("--check runs.json").unwrap();
        assert_eq!(args.check.as_deref(), Some(Path::new("runs.json")));
        assert!(parse("--check runs.json --viewers 5m").is_err());
    }

    #[test]
    fn a_run_stands_beside_its_plan() {
        let figure = |part, planned_cores, used_cores: f64, at_most, agrees| CheckedFigure {
            run: "scripts/bench cluster 5000".to_owned(),
            part,
            planned_cores,
            used_cores,
            ratio: planned_cores / used_cores,
            at_most,
            agrees,
        };
        insta::assert_snapshot!(comparison(&[
            figure(RunPart::Coordinators, 0.07, 0.05, true, true),
            figure(RunPart::Daemons, 0.2, 0.4, false, false),
        ]));
    }

    #[test]
    fn units_are_accepted_in_every_form() {
        for (text, expected) in
            [("20", 20.0), ("20/s", 20.0), ("10k/s", 10_000.0), ("0.5", 0.5), ("90/min", 1.5)]
        {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for (text, expected) in
            [("2.5g", 2_500_000_000), ("10Gbit/s", 10_000_000_000), ("100m", 100_000_000)]
        {
            assert_eq!(bits(text), Ok(BitsPerSecond(expected)), "{text}");
        }
        for (text, expected) in
            [("32g", 32_000_000_000), ("32GB", 32_000_000_000), ("1GiB", 1_073_741_824)]
        {
            assert_eq!(bytes(text), Ok(Bytes(expected)), "{text}");
        }
    }

    #[test]
    fn wrong_values_are_told_what_would_be_right() {
        let event = "--viewers 5m --rate 10k";
        for (line, expected) in [
            ("--viewers 0 --rate 10k".to_owned(), "1 to 1000000000"),
            ("--viewers 5x --rate 10k".to_owned(), "1.5M"),
            ("--viewers 5m".to_owned(), "--rate"),
            ("--viewers 5m --rate fast".to_owned(), "600/min"),
            ("--viewers 5m --rate -1".to_owned(), "--rate"),
            ("--viewers 5m --rate 10/day".to_owned(), "20/s"),
            ("--viewers 5m --rate 1g".to_owned(), "100m/s"),
            (format!("{event} --uplink 10GB/s"), "bits per second"),
            (format!("{event} --uplink 10"), "such as 2.5g"),
            (format!("{event} --memory lots"), "32GiB"),
            (format!("{event} --memory 1k"), "such as 32g"),
            (format!("{event} --fill 1%"), "5% to 100%"),
            (format!("{event} --cores 0"), "1 to 4096"),
            (format!("{event} --files 100"), "1000 to"),
            (format!("{event} --ping-interval 0s"), "longer than 0s"),
        ] {
            let said = parse(&line).unwrap_err();
            assert!(said.contains(expected), "{line}: {said}");
        }
    }
}
