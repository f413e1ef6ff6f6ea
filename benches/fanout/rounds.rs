//! The rounds: every server, every load, the order turned by one each time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::Arguments;
use crate::child::Child;
use crate::cpu::cpu_s;
use crate::daemon::Daemon;
use crate::report::Report;

/// Frames a second of a busy stream at lcd's default batch interval.
const BATCHED_FRAMES_PER_S: f64 = 40.0;
/// Ten comments in one frame at 100 comments a second.
const SHARED_FRAMES_PER_S: f64 = 10.0;
const CALM_PER_S: f64 = 5.0;
const BUSY_PER_S: f64 = 100.0;
const CALM: &str = "5 comments/s";
const BUSY: &str = "100 comments/s";
/// After connecting, for what servers tell newcomers.
const SETTLE: Duration = Duration::from_secs(4);
/// No comment has arrived for this long: what is missing was lost.
const QUIET: Duration = Duration::from_secs(2);

/// So many comments a second, in so many frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) comments_per_s: f64,
    pub(crate) frames_per_s: f64,
    pub(crate) seconds: f64,
}

impl Load {
    /// Every comment in a frame of its own.
    pub(crate) fn separate(comments_per_s: f64, seconds: f64) -> Self {
        Self { comments_per_s, frames_per_s: comments_per_s, seconds }
    }

    pub(crate) fn parse(line: &str) -> anyhow::Result<Self> {
        let mut numbers = line.split(' ').map(str::parse::<f64>);
        let mut next = || numbers.next().context("a load is three numbers")?.context("a number");
        Ok(Self { comments_per_s: next()?, frames_per_s: next()?, seconds: next()? })
    }

    fn line(self) -> String {
        format!("{} {} {}", self.comments_per_s, self.frames_per_s, self.seconds)
    }

    pub(crate) fn frames(self) -> usize {
        (self.frames_per_s * self.seconds).round() as usize
    }

    pub(crate) fn comments(self) -> usize {
        (self.comments_per_s * self.seconds).round() as usize
    }

    /// Comments of one frame, so that the whole comes out even.
    pub(crate) fn comments_of(self, frame: usize) -> usize {
        let before = |frame: usize| frame * self.comments() / self.frames().max(1);
        before(frame + 1) - before(frame)
    }
}

/// The cost of one load for one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
    /// Comments received by all viewers together.
    pub(crate) comments: u64,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// Comments that should have come and did not.
    pub(crate) lost: u64,
}

pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    crate::costs::check(arguments)?;
    let servers: Vec<&str> = ["bare", "plain", "lcd"]
        .into_iter()
        .filter(|name| !arguments.without.iter().any(|without| without == name))
        .collect();
    let mut report = Report::new(arguments.viewers);
    for run in 0..arguments.runs {
        for turn in 0..servers.len() {
            let server = servers[(run + turn) % servers.len()];
            measure_server(server, arguments, &mut report)
                .with_context(|| format!("run {}, {server}", run + 1))?;
        }
    }
    report.print();
    if arguments.costs.is_some() {
        let cost = |group, per_s| {
            let cost = report.load_cost(group, "lcd", per_s);
            cost.with_context(|| format!("--costs needs lcd at {group}"))
        };
        let calm = cost(CALM, CALM_PER_S)?;
        let busy = cost(BUSY, BUSY_PER_S)?;
        crate::costs::write_loads(arguments, calm, busy)?;
    }
    Ok(())
}

fn measure_server(name: &str, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let calm_s = arguments.calm_s as f64;
    let busy_s = arguments.busy_s as f64;
    let calm = Load::separate(CALM_PER_S, calm_s);
    let busy = |frames_per_s| Load { comments_per_s: BUSY_PER_S, frames_per_s, seconds: busy_s };
    let mut loads = vec![(CALM, name.to_owned(), calm)];
    if arguments.busy_s > 0 {
        let of = |what: &str| format!("{name}, {what}");
        match name {
            "bare" => loads.extend([
                (BUSY, of("40 frames/s"), busy(BATCHED_FRAMES_PER_S)),
                (BUSY, of("10 frames/s"), busy(SHARED_FRAMES_PER_S)),
            ]),
            _ => loads.push((BUSY, name.to_owned(), busy(BUSY_PER_S))),
        }
    }
    let mut server = Server::start(name, arguments)?;
    let mut viewers = connect(server.address(), arguments)?;
    server.await_ready()?;
    std::thread::sleep(SETTLE);
    for (group, row, load) in loads {
        let sample = take_sample(&mut server, &mut viewers, arguments.viewers, load)?;
        eprintln!("{group}, {row}: {}", crate::report::line(&sample));
        report.add(group, row, sample);
    }
    Ok(())
}

/// The viewers, all connected.
pub(crate) fn connect(address: SocketAddr, arguments: &Arguments) -> anyhow::Result<Child> {
    let viewers = arguments.viewers;
    let cores = arguments.viewers_cores();
    let mut role: Vec<String> =
        ["viewers", &address.to_string(), "/ws/1", &viewers.to_string()].map(str::to_owned).into();
    if arguments.tls {
        role.push("--tls".to_owned());
    }
    let mut child = Child::in_role(&role, cores)?;
    let line = child.line()?;
    if line != format!("connected {viewers}") {
        bail!("viewers did not connect: {line}");
    }
    Ok(child)
}

fn take_sample(
    server: &mut Server,
    viewers: &mut Child,
    count: usize,
    load: Load,
) -> anyhow::Result<Sample> {
    viewers.ask("mark")?;
    let cpu_before = cpu_s(server.pid())?;
    let started = Instant::now();
    server.fan_out(load)?;
    let expected = (load.comments() * count) as u64;
    let mut seen = [0; 4];
    let mut since = Instant::now();
    while seen[0] < expected && since.elapsed() < QUIET {
        let now = ask_count(viewers)?;
        if now[0] != seen[0] {
            since = Instant::now();
        }
        seen = now;
        std::thread::sleep(Duration::from_millis(50));
    }
    let [comments, frames, bytes, closed] = seen;
    if closed > 0 {
        bail!("{closed} viewers were disconnected");
    }
    let cpu_s = cpu_s(server.pid())? - cpu_before;
    let wall_s = started.elapsed().as_secs_f64();
    Ok(Sample { cpu_s, wall_s, comments, frames, bytes, lost: expected.saturating_sub(comments) })
}

/// Comments, frames, bytes received, and viewers that were disconnected.
fn ask_count(viewers: &mut Child) -> anyhow::Result<[u64; 4]> {
    let line = viewers.ask("count")?;
    let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    <[u64; 4]>::try_from(numbers).map_err(|_| anyhow::anyhow!("not a count: {line}"))
}

enum Server {
    Ours { child: Child, address: SocketAddr, says_ready: bool },
    Lcd(Box<Daemon>),
}

impl Server {
    fn start(name: &str, arguments: &Arguments) -> anyhow::Result<Self> {
        let says_ready = name == "bare";
        let role = match name {
            "bare" => vec!["bare".to_owned(), arguments.viewers.to_string()],
            "plain" => vec!["plain".to_owned()],
            _ => return Ok(Self::Lcd(Box::new(Daemon::start(arguments)?))),
        };
        let mut child = Child::in_role(&role, arguments.server_cores())?;
        let address = child.address()?;
        Ok(Self::Ours { child, address, says_ready })
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Ours { address, .. } => *address,
            Self::Lcd(daemon) => daemon.address,
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Ours { child, .. } => child.pid(),
            Self::Lcd(daemon) => daemon.process.pid(),
        }
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        if let Self::Ours { child, says_ready: true, .. } = self {
            child.line()?;
        }
        Ok(())
    }

    fn fan_out(&mut self, load: Load) -> anyhow::Result<()> {
        match self {
            Self::Ours { child, .. } => child.ask(&load.line()).map(drop),
            Self::Lcd(daemon) => daemon.comment(load),
        }
    }
}
