//! The consumer groups of one topic: their members and their committed positions.
//!
//! A topic has one partition, so one member of a group reads it: the one that joined last, because
//! it is usually the same stage, started again. The member before it has the partition revoked, may
//! no longer commit, and reads again when the newer one leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::disk::read_failure;
use super::positions::PositionFile;
use crate::daemon::engines::eventlog::LogError;

const EXTENSION: &str = "position";

#[derive(Debug)]
pub(super) struct TopicGroups {
    directory: PathBuf,
    by_name: Mutex<BTreeMap<String, Arc<Group>>>,
}

/// One group.
#[derive(Debug)]
struct Group {
    /// Locked while a commit is written, so that commits are written one after another.
    position: Mutex<PositionFile>,
    /// A copy that can be read while a commit is written.
    committed: Mutex<Option<u64>>,
    members: watch::Sender<Members>,
}

/// A group that has committed.
#[derive(Debug)]
pub(super) struct GroupState {
    pub name: String,
    pub committed: u64,
    /// True if it has a member.
    pub is_read: bool,
}

/// One member of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: String,
    group: Arc<Group>,
    id: u64,
}

/// The members in the order in which they joined. The last one reads.
#[derive(Debug, Default)]
pub(super) struct Members {
    joined: Vec<u64>,
    next_id: u64,
}

impl TopicGroups {
    /// Reads the positions of all groups that have committed.
    pub(super) fn open(directory: &Path) -> Result<Self, LogError> {
        let mut by_name = BTreeMap::new();
        for path in position_paths(directory)? {
            if let Some(name) = name_in_path(&path) {
                by_name.insert(name, Arc::new(Group::open(path)?));
            }
        }
        Ok(Self { directory: directory.to_owned(), by_name: Mutex::new(by_name) })
    }

    /// Adds a member to a group. It reads from now on.
    pub(super) fn join(&self, name: &str) -> Result<Member, LogError> {
        let mut groups = self.by_name.lock();
        let group = match groups.get(name) {
            Some(group) => group.clone(),
            None => {
                let path = self.directory.join(format!("{}.{EXTENSION}", escape(name)));
                let group = Arc::new(Group::open(path)?);
                groups.insert(name.to_owned(), group.clone());
                group
            }
        };
        let id = group.add_member();
        Ok(Member { group, id, name: name.to_owned() })
    }

    /// Removes a member. A group without members that never committed is removed too.
    pub(super) fn leave(&self, member: &Member) {
        let mut groups = self.by_name.lock();
        let is_empty = member.group.remove_member(member.id);
        if is_empty && member.group.committed().is_none() {
            groups.remove(&member.name);
        }
    }

    pub(super) fn committed(&self, name: &str) -> Option<u64> {
        self.by_name.lock().get(name)?.committed()
    }

    /// Returns the state of every group that has committed.
    pub(super) fn states(&self) -> Vec<GroupState> {
        let groups = self.by_name.lock();
        let state = |(name, group): (&String, &Arc<Group>)| {
            Some(GroupState {
                name: name.clone(),
                committed: group.committed()?,
                is_read: !group.members.borrow().joined.is_empty(),
            })
        };
        groups.iter().filter_map(state).collect()
    }

    /// Returns every group that has committed, with its position.
    pub(super) fn all_committed(&self) -> Vec<(String, u64)> {
        let groups = self.by_name.lock();
        groups.iter().filter_map(|(name, group)| Some((name.clone(), group.committed()?))).collect()
    }
}

impl Group {
    fn open(path: PathBuf) -> Result<Self, LogError> {
        let position = PositionFile::open(path)?;
        Ok(Self {
            committed: Mutex::new(position.next_offset()),
            position: Mutex::new(position),
            members: watch::Sender::new(Members::default()),
        })
    }

    fn committed(&self) -> Option<u64> {
        *self.committed.lock()
    }

    fn add_member(&self) -> u64 {
        let mut id = 0;
        self.members.send_modify(|members| {
            id = members.next_id;
            members.next_id += 1;
            members.joined.push(id);
        });
        id
    }

    /// Removes a member. Returns whether none is left.
    fn remove_member(&self, id: u64) -> bool {
        self.members.send_modify(|members| members.joined.retain(|member| *member != id));
        self.members.borrow().joined.is_empty()
    }

    fn is_reader(&self, id: u64) -> bool {
        self.members.borrow().joined.last() == Some(&id)
    }

    fn commit(&self, id: u64, next_offset: u64) -> Result<(), LogError> {
        let mut position = self.position.lock();
        if !self.is_reader(id) {
            let text = "cannot commit: another member of the group reads the partition now";
            return Err(LogError::Unavailable(text.to_owned()));
        }
        position.store(next_offset)?;
        *self.committed.lock() = Some(next_offset);
        Ok(())
    }
}

impl Member {
    /// Returns whether this member is the one that reads the partition.
    pub(super) fn is_reader(&self) -> bool {
        self.group.is_reader(self.id)
    }

    /// Notifies when a member joins or leaves the group.
    pub(super) fn subscribe(&self) -> watch::Receiver<Members> {
        self.group.members.subscribe()
    }

    /// Returns the group's position, if it has committed.
    pub(super) fn committed(&self) -> Option<u64> {
        self.group.committed()
    }

    /// Stores the group's position. Blocks on the disk.
    pub(super) fn commit(&self, next_offset: u64) -> Result<(), LogError> {
        self.group.commit(self.id, next_offset)
    }
}

/// Encodes a group's name as a file name. Bytes other than letters, digits, `-` and `_` become `%`
/// and two hex digits.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(byte as char),
            other => escaped.push_str(&format!("%{other:02x}")),
        }
    }
    escaped
}

/// Returns the files with the positions of groups.
pub(super) fn position_paths(directory: &Path) -> Result<Vec<PathBuf>, LogError> {
    let unreadable = |error| read_failure("listing", directory, &error);
    let listed = std::fs::read_dir(directory).map_err(unreadable)?;
    let paths = listed.map(|entry| entry.map(|entry| entry.path()).map_err(unreadable));
    let is_position = |path: &PathBuf| name_in_path(path).is_some();
    paths.filter(|path| path.as_ref().map_or(true, is_position)).collect()
}

fn name_in_path(path: &Path) -> Option<String> {
    if path.extension()?.to_str()? != EXTENSION {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = path.file_stem()?.to_str()?.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn file_name_keeps_any_group_name(name in ".{1,40}") {
            let escaped = escape(&name);
            prop_assert!(!escaped.contains(['/', '.', '\0']));
            let path = PathBuf::from(format!("topic/{escaped}.{EXTENSION}"));
            prop_assert_eq!(name_in_path(&path), Some(name));
        }
    }

    #[test]
    fn positions_of_all_groups_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let groups = TopicGroups::open(dir.path()).unwrap();
        for (name, next) in [("broadcast", 7), ("archive/1", 9)] {
            groups.join(name).unwrap().commit(next).unwrap();
        }
        groups.join("never committed").unwrap();
        let wanted = vec![("archive/1".to_owned(), 9), ("broadcast".to_owned(), 7)];
        assert_eq!(groups.all_committed(), wanted);
        assert_eq!(TopicGroups::open(dir.path()).unwrap().all_committed(), wanted);
    }

    #[test]
    fn newest_member_reads_until_it_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let groups = TopicGroups::open(dir.path()).unwrap();
        let old = groups.join("g").unwrap();
        let new = groups.join("g").unwrap();
        assert_eq!((old.is_reader(), new.is_reader()), (false, true));
        assert!(matches!(old.commit(5), Err(LogError::Unavailable(_))));
        assert_eq!(groups.committed("g"), None);
        groups.leave(&new);
        old.commit(5).unwrap();
        assert_eq!(groups.committed("g"), Some(5));
    }

    #[test]
    fn group_is_kept_only_if_it_committed() {
        let dir = tempfile::tempdir().unwrap();
        let groups = TopicGroups::open(dir.path()).unwrap();
        let passing = groups.join("a").unwrap();
        let lasting = groups.join("b").unwrap();
        lasting.commit(3).unwrap();
        groups.leave(&passing);
        groups.leave(&lasting);
        assert_eq!(groups.by_name.lock().keys().collect::<Vec<_>>(), ["b"]);
    }
}
