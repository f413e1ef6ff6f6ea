//! How many connections this process may hold.

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

/// How many of the wanted viewers fit beside the senders, and what to tell about the others.
pub(crate) fn fit_viewers(wanted: u64, senders: u64, fitting: u64) -> (u64, Option<String>) {
    let viewers = wanted.min(fitting.saturating_sub(senders));
    if viewers == wanted {
        return (viewers, None);
    }
    let note = format!(
        "only {viewers} of {wanted} viewers fit into this process: its limit of descriptors leaves \
         {fitting} connections, {senders} of them for senders; raise it with ulimit -n"
    );
    (viewers, Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said() {
        assert_eq!(fit_viewers(1000, 10, 20_000), (1000, None));
        let (viewers, note) = fit_viewers(30_000, 10, 20_000);
        assert_eq!(viewers, 19_990);
        assert!(note.unwrap().contains("only 19990 of 30000 viewers"));
        assert_eq!(fit_viewers(5, 10, 4).0, 0);
        assert!(raise_limit() > 0);
    }
}
