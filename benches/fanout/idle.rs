//! Measures the memory that an idle viewer costs `lcd`: everything, resident after minus before.

use std::time::Duration;

use crate::Arguments;
use crate::child::Child;
use crate::daemon::Daemon;
use crate::rounds::{Load, connect};
use crate::usage::{Memory, memory};

pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let scheme = if arguments.tls { "wss" } else { "ws" };
    println!("idle memory of lcd, {} viewers over {scheme}, KiB", arguments.viewers);
    println!("{:<28} {:>9} {:>14} {:>22}", "", "resident", "private dirty", "bytes a viewer (Rss)");
    let mut daemon = Daemon::start(arguments)?;
    std::thread::sleep(Duration::from_secs(3));
    let pid = daemon.process.pid();
    let before = memory(pid)?;
    say("before", before, None);
    let viewers = connect(daemon.address, arguments)?;
    let since = |memory: Memory| {
        (memory.resident as f64 - before.resident as f64) * 1024.0 / arguments.viewers as f64
    };
    let read = |name: &str| -> anyhow::Result<()> {
        let now = memory(pid)?;
        say(name, now, Some(since(now)));
        Ok(())
    };
    read("connected")?;
    std::thread::sleep(Duration::from_secs(arguments.hold_s));
    read(&format!("after {} s", arguments.hold_s))?;
    crate::costs::write_memory(arguments, since(memory(pid)?))?;
    daemon.comment(Load::separate(5.0, 5.0))?;
    std::thread::sleep(Duration::from_secs(3));
    read("after 25 comments to each")?;
    drop::<Child>(viewers);
    std::thread::sleep(Duration::from_secs(5));
    read("all gone")
}

fn say(name: &str, memory: Memory, per_viewer: Option<f64>) {
    let per_viewer = per_viewer.map_or(String::new(), |bytes| format!("{bytes:.0}"));
    println!("{name:<28} {:>9} {:>14} {per_viewer:>22}", memory.resident, memory.private_dirty);
}
