//! Computes the connections that a process may hold, and the processes and source addresses that a
//! run therefore needs.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::protocol::quantity::counted;

/// Descriptors kept for the runtime, standard streams, the admin socket and a recording.
const RESERVED_DESCRIPTORS: u64 = 64;
/// Above this many viewers a second processor speeds up reading.
const VIEWERS_PER_PROCESSOR: u64 = 10_000;
/// Connections from one address to one target. The kernel has about 28,000 ports for them. It finds
/// one half of them at once and searches long for the other half.
const PORTS_PER_SOURCE: u64 = 12_500;

/// Raises the soft limit of descriptors to the hard one. Returns how many connections a process may
/// then hold.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024 - RESERVED_DESCRIPTORS;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    limit.saturating_sub(RESERVED_DESCRIPTORS)
}

/// The connections of a run and the limits of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub viewers: u64,
    pub senders: u64,
    /// Connections that one process may hold.
    pub connections_per_process: u64,
}

impl Capacity {
    /// Returns the number of processes that hold all viewers and use the processors. With 1, the
    /// viewers share the process of the senders.
    pub(crate) fn processes(self, processors: u64) -> u64 {
        let Self { viewers, senders, connections_per_process } = self;
        let fits = viewers + senders <= connections_per_process;
        let one_reader_suffices = viewers <= VIEWERS_PER_PROCESSOR || processors <= 1;
        if fits && one_reader_suffices {
            return 1;
        }
        let needed = viewers.div_ceil(connections_per_process.max(1));
        let useful = viewers.div_ceil(VIEWERS_PER_PROCESSOR).min(processors);
        // At least 2: a single one would also hold the senders.
        needed.max(useful).max(2)
    }

    /// Returns how many viewers fit into `processes`, and a note about those that do not.
    pub(crate) fn fit_viewers(self, processes: u64) -> (u64, Option<String>) {
        let Self { viewers: wanted, senders, connections_per_process } = self;
        let senders_beside = if processes > 1 { 0 } else { senders };
        let per_process = connections_per_process.saturating_sub(senders_beside);
        let viewers = wanted.min(per_process * processes);
        if viewers == wanted {
            return (viewers, None);
        }
        let note = format!(
            "only {viewers} of {} fit: the limit of descriptors allows \
             {connections_per_process} connections per process, and --processes is {processes}; \
             raise either (ulimit -n)",
            counted(wanted, "viewer")
        );
        (viewers, Some(note))
    }
}

/// Returns how many source addresses provide enough ports, or 0 if the kernel's own choice does. A
/// storm needs as many ports again, because those of dropped connections stay taken for a while.
pub(crate) fn source_addresses(viewers: u64, targets: u64, storms: u64) -> u32 {
    let ports = viewers.div_ceil(targets.max(1)) * (1 + storms.min(1));
    if ports <= PORTS_PER_SOURCE { 0 } else { ports.div_ceil(PORTS_PER_SOURCE) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(viewers: u64, senders: u64, connections_per_process: u64) -> Capacity {
        Capacity { viewers, senders, connections_per_process }
    }

    #[test]
    fn viewers_that_do_not_fit_are_reported() {
        assert_eq!(capacity(1000, 10, 20_000).fit_viewers(1), (1000, None));
        assert_eq!(capacity(40_000, 10, 20_000).fit_viewers(2), (40_000, None));
        let (viewers, note) = capacity(30_000, 10, 20_000).fit_viewers(1);
        assert_eq!(viewers, 19_990);
        assert!(note.unwrap().contains("only 19990 of 30000 viewers"));
        assert_eq!(capacity(5, 10, 4).fit_viewers(1).0, 0);
        assert!(raise_descriptor_limit() > 0);
    }

    #[test]
    fn processes_follow_descriptors_and_processors() {
        for (viewers, senders, per_process, processors, expected) in [
            (100, 10, 20_000, 2, 1),
            (10_000, 10, 20_000, 2, 1),
            (19_000, 10, 20_000, 1, 1),
            (19_995, 10, 20_000, 1, 2),
            (19_000, 10, 20_000, 2, 2),
            (1_000_000, 10, 19_936, 2, 51),
            (1_000_000, 10, 1_048_576, 64, 64),
            (600, 10, 500, 64, 2),
        ] {
            let processes = capacity(viewers, senders, per_process).processes(processors);
            assert_eq!(processes, expected, "{viewers}");
        }
    }

    #[test]
    fn ports_are_enough_for_every_target() {
        assert_eq!(source_addresses(10_000, 1, 0), 0);
        assert_eq!(source_addresses(19_000, 1, 0), 2);
        assert_eq!(source_addresses(19_000, 1, 3), 4);
        assert_eq!(source_addresses(1_000_000, 52, 0), 2);
        assert_eq!(source_addresses(1_000_000, 1, 0), 80);
    }
}
