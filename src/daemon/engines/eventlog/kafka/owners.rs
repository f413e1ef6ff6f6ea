//! The nodes that read the partitions, from the assignments of group members that brokers list.

use std::collections::BTreeMap;

use rdkafka::groups::GroupList;

use super::client::{CLIENT_ID_PREFIX, ClientSettings};
use crate::protocol::NodeId;

/// By group without its prefix, topic as Kafka names it, and partition.
pub(super) type Owners = BTreeMap<(String, String, i32), NodeId>;

/// Returns the owners in the groups of this system. A member that is no node of it owns nothing.
pub(super) fn owners_in(list: &GroupList, clients: &ClientSettings) -> Owners {
    let mut owners = Owners::new();
    for group in list.groups() {
        let Some(name) = clients.without_prefix(group.name()) else { continue };
        for member in group.members() {
            let Some(node) = member.client_id().strip_prefix(CLIENT_ID_PREFIX) else { continue };
            let assigned = member.assignment().and_then(assigned_partitions).unwrap_or_default();
            for (topic, partition) in assigned {
                owners.insert((name.to_owned(), topic, partition), NodeId::new(node));
            }
        }
    }
    owners
}

/// Reads the assignment of a member, as the consumer protocol of Kafka has it: a version, and for
/// each topic its name and partitions. `None` if the bytes are none. What follows is not read.
fn assigned_partitions(bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    let mut rest = Bytes(bytes);
    let _version = rest.take::<2>()?;
    let topics = rest.count()?;
    let mut assigned = Vec::new();
    for _ in 0..topics {
        let length = u16::from_be_bytes(rest.take()?);
        let topic = std::str::from_utf8(rest.split(usize::from(length))?).ok()?;
        for _ in 0..rest.count()? {
            assigned.push((topic.to_owned(), i32::from_be_bytes(rest.take()?)));
        }
    }
    Some(assigned)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    /// Reads a number of items. Each of them takes bytes, so more items than bytes are none.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(i32::from_be_bytes(self.take()?)).ok()?;
        (count <= self.0.len()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(topics: &[(String, Vec<i32>)]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend((topics.len() as i32).to_be_bytes());
        for (topic, partitions) in topics {
            bytes.extend((topic.len() as u16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes
    }

    proptest! {
        #[test]
        fn assignments_are_read_as_written(
            topics in proptest::collection::vec(
                ("[a-z_-]{1,20}", proptest::collection::vec(0i32..1_000, 0..30)), 0..5),
            user_data in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = written(&topics);
            let listed: Vec<_> = topics
                .iter()
                .flat_map(|(topic, partitions)| partitions.iter().map(|&at| (topic.clone(), at)))
                .collect();
            let whole = bytes.len();
            bytes.extend(user_data);
            prop_assert_eq!(assigned_partitions(&bytes), Some(listed));
            prop_assert_eq!(assigned_partitions(&bytes[..whole - 1]), None);
        }

        #[test]
        fn any_bytes_are_read_within_bounds(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let listed = assigned_partitions(&bytes).unwrap_or_default();
            prop_assert!(listed.len() * 4 <= bytes.len());
        }
    }
}
