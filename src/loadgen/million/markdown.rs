//! The text of the report.

use std::fmt::Write as _;

use super::MillionRun;
use crate::loadgen::CountsByKind;

const MIB: f64 = 1024.0 * 1024.0;
/// The longest line of a paragraph.
const COLUMNS: usize = 100;

/// Writes the whole report.
pub(super) fn write(run: &MillionRun) -> anyhow::Result<String> {
    let sections = [head(run)?, result(run)?, cost(run)?, limits(run)?, setup(run)?];
    Ok(sections.concat().lines().map(wrapped).collect())
}

/// Breaks a paragraph or an item of a list at 100 columns. Rows of tables stay as they are.
fn wrapped(line: &str) -> String {
    let mut text = String::with_capacity(line.len() + 8);
    if line.starts_with('|') {
        text.push_str(line);
    } else {
        let indent = if line.starts_with("- ") { "  " } else { "" };
        let mut columns = 0;
        for word in line.split(' ') {
            let length = word.chars().count();
            if columns > 0 && columns + 1 + length > COLUMNS {
                let _ = write!(text, "\n{indent}{word}");
                columns = indent.len() + length;
            } else {
                let space = if columns > 0 { " " } else { "" };
                let _ = write!(text, "{space}{word}");
                columns += space.len() + length;
            }
        }
    }
    text.push('\n');
    text
}

fn head(run: &MillionRun) -> anyhow::Result<String> {
    Ok(format!(
        "# {viewers} viewers on one machine\n\n\
         `{command}`, {date} UTC. Written by `lc` from what the script measured.\n\n\
         {processors} processors ({model}), {memory} of memory, Linux {kernel}, a limit of {files} open \
         files per process. Viewers, edges, servers and the load generator share it.\n\n",
        viewers = spaced(run.fact("viewers")?),
        command = run.text("command_line")?,
        date = run.text("date")?,
        processors = run.text("processors")?,
        model = run.text("processor_model")?,
        memory = gib_of_kib(run.fact("memory_kib")?),
        kernel = run.text("kernel")?,
        files = spaced(run.fact("open_files")?),
    ))
}

fn result(run: &MillionRun) -> anyhow::Result<String> {
    let mut text = String::new();
    let shortfalls = run.shortfalls()?;
    if shortfalls.is_empty() {
        text.push_str(
            "Every viewer connected and received every comment, and the ban reached its viewer.\n",
        );
    } else {
        text.push_str("**The run fell short:**\n\n");
        shortfalls.iter().for_each(|shortfall| text.push_str(&format!("- {shortfall}\n")));
    }
    let load = &run.load;
    let ms = |value: Option<f64>| value.unwrap_or_default();
    let ban_ms = match run.text("ban_ms")? {
        "" => "never".to_owned(),
        ban_ms => format!("{ban_ms} ms"),
    };
    text.push_str("\n| what | figure |\n|---|---|\n");
    let mut row = |name: &str, figure: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {figure} |");
    };
    row(
        "viewers connected",
        format!(
            "{} of {}, over {} edges",
            spaced(load.connected as i64 + 1),
            spaced(run.fact("viewers")?),
            run.at("connected", "edges_processes")?
        ),
    );
    row(
        "time to connect them all",
        format!(
            "{:.0} s, {} per second requested; from its turn to its welcome a viewer waited p50 {}, p99 \
             {}, at most {}",
            seconds_between(run, "connecting", "connected")?,
            run.text("connect_rate")?,
            seconds(ms(load.connect_ms.p50), 3),
            seconds(ms(load.connect_ms.p99), 2),
            seconds(ms(load.connect_ms.max), 2)
        ),
    );
    row("attempts that failed for good", counts(&load.connect_failed));
    row(
        "held",
        format!(
            "{} by the edges' count at the end of {} s without a comment; then {:.0} s with comments; \
             {} disconnected, {} reconnects",
            spaced(run.fact::<i64>("held_connections")? - 1),
            run.text("hold_s")?,
            seconds_between(run, "held", "delivered")?,
            load.disconnected,
            load.reconnects
        ),
    );
    row(
        "comments",
        format!(
            "{} sent by one user, {} acknowledged, one every {} s",
            load.published,
            load.acked,
            run.text("gap_s")?
        ),
    );
    row(
        "deliveries",
        format!(
            "{} of {}; {} lost, {} duplicated, {} out of order",
            spaced(load.delivered as i64),
            spaced(load.expected as i64),
            load.lost,
            load.duplicated,
            load.out_of_order
        ),
    );
    row(
        "from sending to a viewer",
        format!(
            "p50 {}, p99 {}, the last of all viewers {}",
            seconds(ms(load.latency_ms.p50), 2),
            seconds(ms(load.latency_ms.p99), 2),
            seconds(ms(load.latency_ms.max), 2)
        ),
    );
    row(
        "from sending to the acknowledgement",
        format!(
            "p50 {}, at most {}",
            seconds(ms(load.ack_ms.p50), 3),
            seconds(ms(load.ack_ms.max), 3)
        ),
    );
    row(
        "the ban of one viewer among them",
        format!(
            "at the viewer {ban_ms} after `lc ban` was started, which itself returned after {} ms; the \
             viewer had seen {} of the {} comments and saw no more; its next attempt was {}",
            run.text("ban_command_ms")?,
            run.ban.comments_before,
            run.text("comments")?,
            run.text("second_attempt")?
        ),
    );
    text.push('\n');
    Ok(text)
}

fn cost(run: &MillionRun) -> anyhow::Result<String> {
    let viewers: f64 = run.fact("viewers")?;
    let page_kib = run.fact::<i64>("page_bytes")? / 1024;
    let per_viewer = |kib: i64| format!("{:.0} bytes", 1024.0 * kib as f64 / viewers);
    let available = |mark: &str| run.at(mark, "available_kib").map(gib_of_kib);
    let mut text = String::from("## What it cost\n\n| memory | | per viewer |\n|---|---|---|\n");
    let mut row = |name: &str, figure: String, per_viewer: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {figure} | {per_viewer}{}|", space_after(&per_viewer));
    };
    let none = String::new;
    row("available before the run", available("empty")?, none());
    row("available with servers, core and edges, no viewer", available("started")?, none());
    let taken_kib = -run.growth("started", "connected", "available_kib")?;
    let everything = format!("{}, everything", per_viewer(taken_kib));
    row("available with all connected", available("connected")?, everything);
    row("least available during the run", gib_of_kib(run.memory.least_available_kib), none());
    let slab_kib = run.growth("started", "connected", "slab_kib")?;
    row(
        "the kernel's objects (slab) for both ends of each connection",
        mib_of_kib(slab_kib),
        per_viewer(slab_kib),
    );
    let edges_kib = run.at("connected", "edges_rss_kib")?;
    let edges_before_kib = run.at("started", "edges_rss_kib")?;
    row(
        "edges, resident",
        format!("{}, before the viewers {}", mib_of_kib(edges_kib), mib_of_kib(edges_before_kib)),
        per_viewer(edges_kib - edges_before_kib),
    );
    let edges_pss_kib = run.at("weighed", "edges_pss_kib")?;
    row("edges, shared pages counted once", mib_of_kib(edges_pss_kib), none());
    let generator_kib = run.at("weighed", "generator_pss_kib")?;
    let processes = run.at("connected", "generator_processes")?;
    row(
        "generator, shared pages counted once",
        format!("{} in {processes} processes", mib_of_kib(generator_kib)),
        per_viewer(generator_kib),
    );
    let tcp_kib = run.memory.most_tcp_pages * page_kib;
    let tcp_limit_kib = run.fact::<i64>("tcp_limit_pages")? * page_kib;
    row(
        "data in TCP's queues, at most",
        format!("{} of {} the kernel allows", mib_of_kib(tcp_kib), mib_of_kib(tcp_limit_kib)),
        none(),
    );

    text.push_str(
        "\n| seconds of processor time | edges | generator | core | servers | busy processors |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    let before_ban: f64 = run.fact("comments_before_ban")?;
    let with_comments = format!("{before_ban} of the comments");
    for (name, from, to) in [
        ("while connecting", "connecting", "connected"),
        ("held in silence", "connected", "held"),
        (with_comments.as_str(), "held", "banned"),
    ] {
        let duration_s = seconds_between(run, from, to)?;
        let _ = write!(text, "| {name} ({duration_s:.0} s) |");
        for group in ["edges", "generator", "core", "servers"] {
            let _ = write!(text, " {:.1} |", cpu_seconds(run, from, to, group)?);
        }
        let _ = writeln!(text, " {:.0} % |", busy_percent(run, from, to)?);
    }
    let micros = |from: &str, to: &str, group: &str, divisor: f64| -> anyhow::Result<f64> {
        // From seconds rounded as the table shows them.
        let seconds = (cpu_seconds(run, from, to, group)? * 10.0).round() / 10.0;
        Ok(1e6 * seconds / divisor)
    };
    let connect = micros("connecting", "connected", "edges", viewers)?
        + micros("connecting", "connected", "generator", viewers)?;
    let deliveries = before_ban * viewers;
    let deliver = micros("held", "banned", "edges", deliveries)?;
    let receive = micros("held", "banned", "generator", deliveries)?;
    let _ = write!(
        text,
        "\nEdges and generator together: {connect:.0} µs of a processor to connect a viewer. The \
         edges: {deliver:.1} µs to deliver a comment to a viewer, including everything else they did \
         meanwhile. The generator: {receive:.1} µs to receive it.\n\n"
    );
    Ok(text)
}

/// An empty cell has one space, as a cell with text has one on each side.
fn space_after(cell: &str) -> &'static str {
    if cell.is_empty() { "" } else { " " }
}

fn limits(run: &MillionRun) -> anyhow::Result<String> {
    let viewers: i64 = run.fact("viewers")?;
    let taken_kib = -run.growth("started", "connected", "available_kib")?;
    let taken_bytes = (1024 * taken_kib / viewers).max(1);
    let left_bytes = 1024 * run.memory.least_available_kib;
    let edge_bytes = run.fact::<i64>("edge_bytes")? / run.fact::<i64>("max_viewers_per_edge")?;
    let more = (left_bytes - run.fact::<i64>("spare_bytes")?) / (taken_bytes + edge_bytes);
    let connect_us = run.growth("connecting", "connected", "at_us")? as f64;
    let edges: i64 = run.fact("edges")?;
    Ok(format!(
        "## What limited it\n\n\
         - **Processors.** A comment is one write and one read per viewer. With {processors} processors \
         for both it took {last} until the last of {viewers} viewers had it. Edges on their own \
         machines would not share processors with the readers.\n\
         - **Connecting.** {connected:.0} per second connected of {rate} requested, with {busy:.0} % of the \
         processors busy: handshakes at both ends, and the growth of the kernel's memory.\n\
         - **Memory.** A viewer took {taken} bytes, most of it for the kernel's two ends of the \
         connection. At least {left} were left, enough for about {more} thousand more viewers.\n\
         - **Open files.** With {files} per process, {edge_processes} edges and {workers} worker \
         processes are needed. Each edge costs {edge_mib:.0} MiB and its connections to the servers. With \
         a higher limit, one edge per processor would do.\n\
         - **The generator:** {note}.\n\n",
        processors = run.text("processors")?,
        last = seconds(run.load.latency_ms.max.unwrap_or_default(), 1),
        viewers = spaced(viewers),
        connected = 1e6 * viewers as f64 / connect_us,
        rate = run.text("connect_rate")?,
        busy = busy_percent(run, "connecting", "connected")?,
        taken = spaced(taken_bytes),
        left = gib_of_kib(run.memory.least_available_kib),
        more = more.max(0) / 1000,
        files = spaced(run.fact("open_files")?),
        edge_processes = run.at("connected", "edges_processes")?,
        workers = run.at("connected", "generator_processes")? - 1,
        edge_mib = run.at("started", "edges_rss_kib")? as f64 / 1024.0 / edges as f64,
        note = run.load.generator.note,
    ))
}

fn setup(run: &MillionRun) -> anyhow::Result<String> {
    let ping_s: i64 = run.fact("ping_s")?;
    Ok(format!(
        "## How it was set up\n\n\
         Redis, PostgreSQL (comments and metadata) and Kafka, one node each, from `scripts/stack`; one \
         `lcd` with the roles coordinator, moderator and archiver; {edges} `lcd` with the role edge, each \
         with one delivery worker, up to {per_edge} viewers and 2 connections to PostgreSQL, at a nice \
         value of {nice}: readers run before writers, so that little waits unread in the kernel. Viewers \
         use plain WebSocket and JSON, and connect from loopback addresses that the generator chooses. \
         The banned viewer is a shell with its own socket and token.\n\n\
         Settings that differ from the defaults, because all viewers share {processors} processors: \
         handshakes may take 30 s (3 s), pings every {ping_s} s (30 s), idle viewers closed after {idle_s} s \
         (300 s), and no message about the number of viewers (`delivery.presence_interval`).\n",
        edges = run.text("edges")?,
        per_edge = run.text("max_viewers_per_edge")?,
        nice = run.text("edge_nice")?,
        processors = run.text("processors")?,
        idle_s = 3 * ping_s,
    ))
}

pub(super) fn seconds_between(run: &MillionRun, from: &str, to: &str) -> anyhow::Result<f64> {
    Ok(run.growth(from, to, "at_us")? as f64 / 1e6)
}

pub(super) fn cpu_seconds(
    run: &MillionRun,
    from: &str,
    to: &str,
    group: &str,
) -> anyhow::Result<f64> {
    let ticks = run.growth(from, to, &format!("{group}_ticks"))? as f64;
    Ok(ticks / run.fact::<f64>("clock_ticks_per_second")?)
}

/// Returns the share of all processors that was busy between two marks.
fn busy_percent(run: &MillionRun, from: &str, to: &str) -> anyhow::Result<f64> {
    let all = run.growth(from, to, "all_ticks")?.max(1) as f64;
    Ok(100.0 * run.growth(from, to, "busy_ticks")? as f64 / all)
}

fn seconds(ms: f64, digits: usize) -> String {
    format!("{:.digits$} s", ms / 1000.0)
}

fn gib_of_kib(kib: i64) -> String {
    format!("{:.1} GiB", kib as f64 / MIB)
}

fn mib_of_kib(kib: i64) -> String {
    format!("{:.0} MiB", kib as f64 / 1024.0)
}

/// Formats 1000000 as `1 000 000`.
fn spaced(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn counts(counts: &CountsByKind) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    counts.join(", ")
}
