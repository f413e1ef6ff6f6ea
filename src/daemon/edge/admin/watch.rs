//! Compares this node with the others: settings that must be equal everywhere, and its name.
//!
//! Nodes meet in two places, the connection registry and the announcements. A setting that keeps
//! nodes apart in one of them is found in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::AdminParts;
use crate::daemon::base::config::differing_settings;
use crate::daemon::base::problems::Problems;
use crate::daemon::engines::announcements::{Announcement, OtherProcess};
use crate::protocol::admin::ProblemCode;

/// A place that takes longer to answer is left out this time.
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// Another node, as far as it is compared.
#[derive(Debug, PartialEq)]
struct OtherNode {
    name: String,
    settings: BTreeMap<String, String>,
}

/// The problems that this comparison has raised.
#[derive(Debug, Default)]
pub(super) struct ClusterWatch {
    differing: BTreeSet<String>,
}

impl ClusterWatch {
    /// Compares once, and raises and clears problems.
    pub(super) async fn compare(&mut self, parts: &AdminParts) {
        let (in_registry, announced) = tokio::join!(registered(parts), announced(parts));
        let is_complete = in_registry.is_some() && announced.is_some();
        let announced = announced.unwrap_or_default();
        let own_name = parts.about.node.as_str();
        let same_name = parts.control.parts().registry.same_name().or_else(|| {
            let same = |other: &&OtherProcess| {
                other.overlaps && other.announcement.node.as_str() == own_name
            };
            announced.iter().find(same).map(|other| other.announcement.about.clone())
        });
        let mut others = in_registry.unwrap_or_default();
        others.extend(announced.into_iter().map(|OtherProcess { announcement, .. }| OtherNode {
            name: announcement.node.to_string(),
            settings: announcement.settings,
        }));
        let problems = parts.board.problems();
        self.tell_differences(&parts.about.settings, &others, is_complete, problems);
        tell_name(own_name, &parts.about.about, same_name.as_deref(), problems);
    }

    /// A difference is cleared only if every place has answered: a node that is not seen may still
    /// be there.
    fn tell_differences(
        &mut self,
        own: &BTreeMap<String, String>,
        others: &[OtherNode],
        is_complete: bool,
        problems: &Problems,
    ) {
        let mut nodes_by_setting: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for other in others {
            for setting in differing_settings(own, &other.settings) {
                nodes_by_setting.entry(setting).or_default().insert(&other.name);
            }
        }
        for (setting, nodes) in &nodes_by_setting {
            problems.raise(ProblemCode::SettingsDiffer, setting, difference(setting, nodes));
            self.differing.insert((*setting).to_owned());
        }
        if is_complete {
            self.differing.retain(|setting| {
                let still = nodes_by_setting.contains_key(setting.as_str());
                if !still {
                    problems.clear(ProblemCode::SettingsDiffer, setting);
                }
                still
            });
        }
    }
}

/// Describes a setting that differs on other nodes. `lcd check` uses the same words.
pub fn difference(setting: &str, nodes: &BTreeSet<&str>) -> String {
    let nodes: Vec<_> = nodes.iter().copied().collect();
    let detail = match setting {
        "redis.nodes" => " (the same addresses, in the same order)",
        "auth.signing_key" | "auth.keys" => " (the contents of the files)",
        _ => "",
    };
    format!(
        "`{setting}` is not the same here and on {}: it must be equal on all nodes{detail}; set one \
         value and restart the nodes that have another",
        nodes.join(", ")
    )
}

fn tell_name(name: &str, own: &str, other: Option<&str>, problems: &Problems) {
    match other {
        Some(other) => problems.raise(
            ProblemCode::NodeNameShared,
            name,
            format!(
                "two nodes have the name {name}: this one ({own}) and another ({other}); bans and \
                 other commands reach only one of them: give one of them a different `node.name` \
                 and restart it"
            ),
        ),
        None => problems.clear(ProblemCode::NodeNameShared, name),
    }
}

async fn registered(parts: &AdminParts) -> Option<Vec<OtherNode>> {
    let known = match timeout(TIMEOUT, parts.control.parts().registry.nodes()).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => {
            debug!(%error, "settings not compared in the registry");
            return None;
        }
        Err(_) => return None,
    };
    let own = &parts.about.node;
    let others = known.into_iter().filter(|known| known.alive && known.node != *own);
    let others = others.filter_map(|known| {
        let settings = known.report?.settings.clone();
        Some(OtherNode { name: known.node.to_string(), settings })
    });
    Some(others.collect())
}

/// Announces this process and returns the others.
async fn announced(parts: &AdminParts) -> Option<Vec<OtherProcess>> {
    let Some(announcements) = &parts.announcements else { return Some(Vec::new()) };
    let own = Announcement {
        node: parts.about.node.clone(),
        run: parts.about.run.clone(),
        about: parts.about.about.clone(),
        settings: parts.about.settings.clone(),
    };
    match timeout(TIMEOUT, announcements.announce(&own)).await {
        Ok(Ok(others)) => Some(others),
        Ok(Err(error)) => {
            debug!(%error, "this node is not announced");
            None
        }
        Err(_) => None,
    }
}

/// Removes the announcement of this process.
pub(super) async fn leave(parts: &AdminParts) {
    if let Some(announcements) = &parts.announcements {
        // One that stays ends by itself within seconds.
        let _ = timeout(TIMEOUT, announcements.leave(&parts.about.run)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(prefix: &str) -> BTreeMap<String, String> {
        [("redis.prefix".to_owned(), prefix.to_owned())].into()
    }

    fn node(name: &str, prefix: &str) -> OtherNode {
        OtherNode { name: name.to_owned(), settings: settings(prefix) }
    }

    fn texts(problems: &Problems) -> Vec<String> {
        problems.list().into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn a_difference_names_the_setting_and_the_nodes() {
        let mut watch = ClusterWatch::default();
        let problems = Problems::default();
        let others = [node("b", "1"), node("c", "2"), node("d", "2"), node("c", "2")];
        watch.tell_differences(&settings("1"), &others, true, &problems);
        let [text] = texts(&problems).try_into().unwrap();
        assert!(text.starts_with("`redis.prefix` is not the same here and on c, d:"), "{text}");
        watch.tell_differences(&settings("1"), &[], false, &problems);
        assert_eq!(texts(&problems).len(), 1, "a place did not answer");
        watch.tell_differences(&settings("1"), &[node("b", "1")], true, &problems);
        assert!(texts(&problems).is_empty(), "the others have left");
    }

    #[test]
    fn a_shared_name_names_both() {
        let problems = Problems::default();
        tell_name("a", "10.0.0.1:80, process 7", Some("10.0.0.2:80, process 8"), &problems);
        let [text] = texts(&problems).try_into().unwrap();
        assert!(text.contains("10.0.0.1:80, process 7"), "{text}");
        assert!(text.contains("10.0.0.2:80, process 8"), "{text}");
        tell_name("a", "10.0.0.1:80, process 7", None, &problems);
        assert!(texts(&problems).is_empty());
    }
}
