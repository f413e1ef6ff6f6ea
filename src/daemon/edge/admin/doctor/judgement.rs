//! The findings about one server, collected while its settings are judged.

use crate::daemon::engines::server_settings::Unread;
use crate::protocol::admin::DoctorFinding;

/// A setting that is wrong.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) check: &'static str,
    /// The setting and its value.
    pub(super) what: String,
    pub(super) why: String,
    pub(super) mend: String,
}

#[derive(Debug)]
pub(super) struct Judgement<'a> {
    /// The name of the finding about what is well.
    check: &'static str,
    server: &'a str,
    well: Vec<String>,
    findings: Vec<DoctorFinding>,
}

impl<'a> Judgement<'a> {
    pub(super) fn new(check: &'static str, server: &'a str) -> Self {
        Self { check, server, well: Vec::new(), findings: Vec::new() }
    }

    /// Adds a value that is well.
    pub(super) fn well(&mut self, what: String) {
        self.well.push(what);
    }

    pub(super) fn flaw(&mut self, flaw: Flaw) {
        let Flaw { check, what, why, mend } = flaw;
        self.findings.push(DoctorFinding::degraded(check, what, why, &mend));
    }

    /// Adds `flaw`, or `well` if there is none.
    pub(super) fn flaw_or(&mut self, flaw: Option<Flaw>, well: String) {
        match flaw {
            Some(flaw) => self.flaw(flaw),
            None => self.well(well),
        }
    }

    /// Returns the flaws, the settings that are not known, and one finding with all that is well.
    pub(super) fn finish(self, unread: &[Unread]) -> Vec<DoctorFinding> {
        let Self { check, server, well, mut findings } = self;
        findings.extend(unread.iter().map(|Unread { settings, reason }| {
            DoctorFinding::not_checked(check, format!("{server} {settings}"), reason.clone())
        }));
        if !well.is_empty() {
            let what = format!("{server} ({})", well.join(", "));
            findings.push(DoctorFinding::well(check, what));
        }
        findings
    }
}
