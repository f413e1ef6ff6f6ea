//! Memory, as the kernel accounts it to a process.

use anyhow::Context as _;

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident pages.
    pub(crate) resident: u64,
    /// Resident pages that are the process's own: heap, stacks, data it changed.
    pub(crate) private_dirty: u64,
}

pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("smaps_rollup has no {name}"))
    };
    Ok(Memory { resident: field("Rss:")?, private_dirty: field("Private_Dirty:")? })
}
