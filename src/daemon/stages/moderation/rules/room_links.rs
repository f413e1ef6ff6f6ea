//! Links in rooms that refuse them, whatever the rules of moderation do about links.

use super::links::AllowedHosts;
use crate::daemon::base::config::RulesConfig;
use crate::daemon::base::handoff::LinkFinder;

/// Finds links to hosts that the site does not allow.
#[derive(Debug)]
pub struct RoomLinks {
    allowed_hosts: AllowedHosts,
}

impl RoomLinks {
    pub fn new(config: &RulesConfig) -> Self {
        Self { allowed_hosts: AllowedHosts::new(&config.allowed_hosts) }
    }
}

impl LinkFinder for RoomLinks {
    fn has_link(&self, text: &str) -> bool {
        self.allowed_hosts.first_forbidden(text).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_site_may_be_linked() {
        let config =
            RulesConfig { allowed_hosts: vec!["example.com".into()], ..RulesConfig::default() };
        let links = RoomLinks::new(&config);
        assert!(links.has_link("see evil.net"));
        assert!(!links.has_link("see www.example.com") && !links.has_link("see you"));
    }
}
