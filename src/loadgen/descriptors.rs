//! How many connections a process may hold, and what follows from it: processes and source addresses.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for the runtime, standard streams, the admin socket and a recording.
const RESERVED: u64 = 64;

/// Raises the soft limit of descriptors to the hard one, and answers how many connections fit.
pub(crate) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024 - RESERVED;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    limit.saturating_sub(RESERVED)
}

/// Above this many viewers another processor is of use to read for them.
const VIEWERS_PER_PROCESSOR: u64 = 10_000;
/// Connections from one address to one target. The kernel has some 28 000 ports for them, of which it
/// takes one half readily and searches long for the other.
const PORTS_PER_SOURCE: u64 = 12_500;

/// In how many processes the viewers fit, and use the processors: 1 is the one that also has the senders.
pub(crate) fn processes(viewers: u64, senders: u64, fitting: u64, processors: u64) -> u64 {
    if viewers + senders > fitting || viewers > VIEWERS_PER_PROCESSOR && processors > 1 {
        let needed = viewers.div_ceil(fitting.max(1));
        let of_use = viewers.div_ceil(VIEWERS_PER_PROCESSOR).min(processors);
        // More than one, since in the first there are the senders too.
        needed.max(of_use).max(2)
    } else {
        1
    }
}

/// How many source addresses it takes that ports do not run out; 0 if the kernel's choice will do. The
/// ports of a dropped connection stay taken for a while, so a storm needs as many again.
pub(crate) fn source_addresses(viewers: u64, targets: u64, storms: u64) -> u32 {
    let ports = viewers.div_ceil(targets.max(1)) * (1 + storms.min(1));
    if ports <= PORTS_PER_SOURCE { 0 } else { ports.div_ceil(PORTS_PER_SOURCE) as u32 }
}

/// How many of the wanted viewers fit into the number of processes that was asked for, the only one of
/// which has the senders too, and what to tell about the others.
pub(crate) fn fit_viewers(
    wanted: u64,
    senders: u64,
    fitting: u64,
    processes: u64,
) -> (u64, Option<String>) {
    let beside = if processes > 1 { 0 } else { senders };
    let viewers = wanted.min(fitting.saturating_sub(beside) * processes);
    if viewers == wanted {
        return (viewers, None);
    }
    let note = format!(
        "only {viewers} of {wanted} viewers fit: the limit of descriptors leaves {fitting} connections \
         to a process, and --processes is {processes}; raise either (ulimit -n)"
    );
    (viewers, Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said() {
        assert_eq!(fit_viewers(1000, 10, 20_000, 1), (1000, None));
        assert_eq!(fit_viewers(40_000, 10, 20_000, 2), (40_000, None));
        let (viewers, note) = fit_viewers(30_000, 10, 20_000, 1);
        assert_eq!(viewers, 19_990);
        assert!(note.unwrap().contains("only 19990 of 30000 viewers"));
        assert_eq!(fit_viewers(5, 10, 4, 1).0, 0);
        assert!(raise_limit() > 0);
    }

    #[test]
    fn processes_are_as_many_as_descriptors_need_and_processors_serve() {
        for (viewers, senders, fitting, processors, expected) in [
            (100, 10, 20_000, 2, 1),
            (10_000, 10, 20_000, 2, 1),
            (19_000, 10, 20_000, 1, 1),
            (19_995, 10, 20_000, 1, 2),
            (19_000, 10, 20_000, 2, 2),
            (1_000_000, 10, 19_936, 2, 51),
            (1_000_000, 10, 1_048_576, 64, 64),
            (600, 10, 500, 64, 2),
        ] {
            assert_eq!(processes(viewers, senders, fitting, processors), expected, "{viewers}");
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
