//! The settings of the review hook: a site's own service that moderation asks over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::RuleAction;

const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(5);
const MAX_IN_FLIGHT: usize = 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookConfig {
    /// The address that comments are posted to, `http://` or `https://`. Needed if
    /// `moderation.stages` names `hook`.
    pub url: String,
    /// The comments that the service is asked about.
    pub ask: HookAsk,
    /// The band of `ask = "borderline"`: from the first score up to, but not including, the second.
    pub borderline: [f32; 2],
    /// The decision about a comment for which the service gave no valid answer.
    pub on_failure: RuleAction,
    /// The longest wait for an answer, 10 ms to 5 s, connecting included. Waiting for a free place
    /// may take as long again. In synchronous mode the deadline of the room ends both.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The requests of this node that may be under way at once, 1 to 1024, and so its connections.
    pub max_in_flight: usize,
    /// A file with the token that is sent as `Authorization: Bearer`. Only its owner may read it.
    pub token_file: Option<PathBuf>,
    /// A file with the key that signs requests, at least 32 bytes. Only its owner may read it.
    pub signing_key_file: Option<PathBuf>,
    /// Certificates of the authorities that sign the service's certificate, in PEM. Without it,
    /// those of the public web.
    pub tls_ca: Option<PathBuf>,
}

impl Default for HookConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            ask: HookAsk::All,
            borderline: [0.4, 0.7],
            on_failure: RuleAction::Accept,
            timeout: Duration::from_millis(300),
            max_in_flight: 64,
            token_file: None,
            signing_key_file: None,
            tls_ca: None,
        }
    }
}

/// The comments that the service is asked about, of those that no stage before it removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookAsk {
    /// Every comment.
    All,
    /// Comments that a stage before flagged.
    Flagged,
    /// Comments that a stage before flagged, and those whose highest score lies in the band.
    Borderline,
}

impl HookConfig {
    /// Reads the address.
    ///
    /// # Errors
    /// The condition that it does not meet.
    pub fn address(&self) -> Result<Url, &'static str> {
        let url = Url::parse(&self.url).map_err(|_| "must be a URL, such as https://host/path")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must have no user and no password: use moderation.hook.token_file");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("must name a host");
        }
        Ok(url)
    }

    /// Returns the faults, each with its key. `is_used` tells whether the hook is one of the
    /// stages.
    pub(super) fn faults(&self, is_used: bool) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        if is_used || !self.url.is_empty() {
            faults.extend(self.address().err().map(|text| ("moderation.hook.url", text)));
        }
        let mut check = |right: bool, key, text| {
            if !right {
                faults.push((key, text));
            }
        };
        let [from, to] = self.borderline;
        check(
            0.0 <= from && from < to && to <= 1.0,
            "moderation.hook.borderline",
            "must be two shares of 0 to 1, the smaller one first",
        );
        check(TIMEOUTS.contains(&self.timeout), "moderation.hook.timeout", "must be 10ms to 5s");
        check(
            (1..=MAX_IN_FLIGHT).contains(&self.max_in_flight),
            "moderation.hook.max_in_flight",
            "must be 1 to 1024",
        );
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: impl FnOnce(&mut HookConfig)) -> Vec<(&'static str, &'static str)> {
        let mut config = HookConfig { url: "https://mod.example".into(), ..HookConfig::default() };
        change(&mut config);
        config.faults(true)
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused() {
        assert_eq!(faults(|_| {}), []);
        assert_eq!(faults(|config| config.url = "http://127.0.0.1:8080/check?v=1".into()), []);
        for (url, expected) in [
            ("", "must be a URL"),
            ("mod.example/check", "must be a URL"),
            ("ftp://mod.example/", "must begin with http"),
            ("https://ann:secret@mod.example/", "no password"),
            ("https://", "must be a URL"),
        ] {
            let found = faults(|config| config.url = url.into());
            let [(key, text)] = found.try_into().unwrap();
            assert_eq!(key, "moderation.hook.url");
            assert!(text.contains(expected), "{url}: {text}");
        }
        assert_eq!(HookConfig::default().faults(false), [], "the defaults name no service");
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        let keys = |change: fn(&mut HookConfig)| faults(change).first().map(|(key, _)| *key);
        for (change, expected) in [
            (
                (|config| config.timeout = Duration::from_millis(9)) as fn(&mut HookConfig),
                "timeout",
            ),
            (|config| config.timeout = Duration::from_secs(6), "timeout"),
            (|config| config.max_in_flight = 0, "max_in_flight"),
            (|config| config.max_in_flight = 1025, "max_in_flight"),
            (|config| config.borderline = [0.7, 0.4], "borderline"),
            (|config| config.borderline = [f32::NAN, 0.4], "borderline"),
            (|config| config.borderline = [0.5, 1.5], "borderline"),
        ] {
            assert_eq!(keys(change), Some(&*format!("moderation.hook.{expected}")));
        }
    }
}
