//! `lcd repair-log`: finds damage in the embedded event log, and repairs it.

use std::io::Write as _;

use anyhow::bail;

use crate::daemon::base::config::{Config, EventLogEngine};
use crate::daemon::engines::choose::{
    Damage, Findings, Missing, MissingPart, embedded_log_directory, repair,
};
use crate::protocol::quantity::counted;

/// Lists the damage in the log of the data directory, and repairs it if `apply` is set. The daemon
/// must be stopped. Blocks on the disk.
///
/// # Errors
/// If the log cannot be read or written, or if damage is left.
pub fn repair_log(config: &Config, apply: bool) -> anyhow::Result<()> {
    if config.engines.eventlog != EventLogEngine::Embedded {
        bail!("engines.eventlog is not \"embedded\": there are no files to repair here");
    }
    let directory = embedded_log_directory(config);
    let Findings { damage, missing, is_empty } = repair(&directory, apply)?;
    let mut text = String::new();
    for line in damage.iter().map(describe).chain(missing.iter().map(|it| it.text.clone())) {
        text.push_str(&format!("{line}\n"));
    }
    let lost: u64 = damage.iter().map(|damage| damage.lost.end - damage.lost.start).sum();
    let summary = match (damage.len(), apply) {
        (0, _) if is_empty => format!("the log in {} is empty", directory.display()),
        (0, _) if !missing.is_empty() => "no damage in the files that are left".to_owned(),
        (0, _) => format!("no damage in {}", directory.display()),
        (_, true) => format!(
            "repaired, with {} lost, all others kept; the damaged files are kept with the ending \
             .damaged",
            counted(lost, "record")
        ),
        (_, false) => format!("{} would be lost, all others kept", counted(lost, "record")),
    };
    writeln!(std::io::stdout(), "{text}{summary}")?;
    if !apply && !damage.is_empty() {
        bail!("nothing was changed; run `lcd repair-log --apply` to repair the log");
    }
    if !missing.is_empty() {
        bail!("{}", advice(&missing));
    }
    Ok(())
}

/// Returns what to do, and what a start without it does.
fn advice(missing: &[Missing]) -> String {
    let mut advice = vec![
        "no repair brings back what is missing: put it back from a copy before lcd is started",
    ];
    let is_missing = |part| missing.iter().any(|it| it.part == part);
    if is_missing(MissingPart::Segments) {
        advice.push(
            "A start without segments leaves out their records, and begins a new epoch if all \
             segments of a topic are missing",
        );
    }
    if is_missing(MissingPart::Identity) {
        advice.push(
            "A start is refused while the file `meta` is missing or damaged. If there is no copy, \
             move the directory of the log away to begin a new log",
        );
    }
    advice.join(". ")
}

fn describe(damage: &Damage) -> String {
    let Damage { path, at_byte, flaw, lost } = damage;
    let lost = match lost.end - lost.start {
        0 => "no record is lost".to_owned(),
        1 => format!("the record with offset {} is lost", lost.start),
        count => format!("{count} records are lost, offsets {} to {}", lost.start, lost.end - 1),
    };
    format!("{} at byte {at_byte}: {flaw}; {lost}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_fits_what_is_missing() {
        let [segments, identity] = [MissingPart::Segments, MissingPart::Identity]
            .map(|part| Missing { part, text: "x".to_owned() });
        let tells = |missing: &[Missing]| {
            let advice = advice(missing);
            [advice.contains("leaves out"), advice.contains("is refused")]
        };
        assert_eq!(tells(std::slice::from_ref(&segments)), [true, false]);
        assert_eq!(tells(std::slice::from_ref(&identity)), [false, true]);
        assert_eq!(tells(&[segments, identity]), [true, true]);
    }
}
