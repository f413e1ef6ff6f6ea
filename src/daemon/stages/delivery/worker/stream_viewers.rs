//! The viewers of one stream on one worker, and the progress of the running fan-out through them.

/// The viewers of a stream: first those with a socket, then those behind a pipe. A worker writes a
/// socket itself, but a pipe only wakes a task that then competes with the workers for processors.
/// So sockets wait for no viewer of another kind.
#[derive(Debug, Default)]
pub(super) struct StreamViewers {
    sockets: VisitList,
    pipes: VisitList,
}

impl StreamViewers {
    pub(super) fn len(&self) -> usize {
        self.sockets.slots.len() + self.pipes.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.sockets.slots.iter().chain(&self.pipes.slots).copied()
    }

    /// Adds a viewer and returns its position in the list of its kind.
    pub(super) fn add(&mut self, slot: usize, is_pipe: bool) -> u32 {
        self.list(is_pipe).add(slot)
    }

    /// Removes the viewer at a position in the list of its kind. Returns the slots of the viewers
    /// that moved because of it, at most two of the same kind, with their new positions.
    pub(super) fn remove(
        &mut self,
        position: usize,
        is_pipe: bool,
    ) -> impl Iterator<Item = (usize, u32)> + use<> {
        self.list(is_pipe).remove(position)
    }

    /// Starts a new fan-out: all viewers are unvisited.
    pub(super) fn start_visits(&mut self) {
        self.sockets.visited = 0;
        self.pipes.visited = 0;
    }

    /// Returns the slot of the next unvisited viewer and marks it as visited.
    pub(super) fn next_unvisited(&mut self) -> Option<usize> {
        self.sockets.next_unvisited().or_else(|| self.pipes.next_unvisited())
    }

    fn list(&mut self, is_pipe: bool) -> &mut VisitList {
        if is_pipe { &mut self.pipes } else { &mut self.sockets }
    }
}

/// Slots of viewers in the order in which a fan-out visits them.
///
/// A fan-out is suspended between slices, and viewers join and leave meanwhile. Viewers not yet
/// visited by the running fan-out always sit after those already visited, so none is left out. A
/// viewer that joined after the fan-out began may be visited too; it is up to date, so the visit
/// does nothing.
#[derive(Debug, Default)]
struct VisitList {
    slots: Vec<u32>,
    /// The running fan-out has visited this many from the front.
    visited: usize,
}

impl VisitList {
    /// Adds a viewer and returns its position in the list.
    fn add(&mut self, slot: usize) -> u32 {
        self.slots.push(slot as u32);
        (self.slots.len() - 1) as u32
    }

    /// Removes the viewer at a position. Returns the slots of the viewers that moved because of it,
    /// at most two, with their new positions.
    fn remove(&mut self, position: usize) -> impl Iterator<Item = (usize, u32)> + use<> {
        let mut hole = position;
        if position < self.visited {
            // The last visited viewer fills the hole. The last of all, which may be unvisited, then
            // takes the place of that one, right behind the visited ones.
            self.visited -= 1;
            self.slots.swap(position, self.visited);
            hole = self.visited;
        }
        self.slots.swap_remove(hole);
        let moved =
            [position, hole].map(|at| self.slots.get(at).map(|slot| (*slot as usize, at as u32)));
        moved.into_iter().flatten()
    }

    fn next_unvisited(&mut self) -> Option<usize> {
        let slot = *self.slots.get(self.visited)?;
        self.visited += 1;
        Some(slot as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// The list, and the position that each viewer believes it has.
    #[derive(Default)]
    struct Rig {
        viewers: StreamViewers,
        positions: BTreeMap<usize, u32>,
    }

    /// Every third viewer of a rig is behind a pipe.
    fn is_pipe(slot: usize) -> bool {
        slot.is_multiple_of(3)
    }

    impl Rig {
        fn add(&mut self, slot: usize) {
            self.positions.insert(slot, self.viewers.add(slot, is_pipe(slot)));
        }

        fn remove(&mut self, slot: usize) {
            let position = self.positions.remove(&slot).unwrap();
            self.positions.extend(self.viewers.remove(position as usize, is_pipe(slot)));
        }
    }

    proptest! {
        #[test]
        fn fan_out_visits_every_staying_viewer_once(
            steps in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut rig = Rig::default();
            (0..20).for_each(|slot| rig.add(slot));
            let mut next_slot = 20;
            let mut due: BTreeSet<usize> = (0..20).collect();
            let mut visits: Vec<usize> = Vec::new();
            rig.viewers.start_visits();
            for (step, which) in steps {
                let here: Vec<usize> = rig.positions.keys().copied().collect();
                match step {
                    0 => visits.extend(rig.viewers.next_unvisited()),
                    1 => {
                        rig.add(next_slot);
                        next_slot += 1;
                    }
                    _ if here.is_empty() => {}
                    _ => {
                        let slot = here[which.index(here.len())];
                        rig.remove(slot);
                        due.remove(&slot);
                    }
                }
                for (slot, position) in &rig.positions {
                    let list = rig.viewers.list(is_pipe(*slot));
                    prop_assert_eq!(list.slots[*position as usize] as usize, *slot);
                }
            }
            visits.extend(std::iter::from_fn(|| rig.viewers.next_unvisited()));
            let visited: BTreeSet<usize> = visits.iter().copied().collect();
            prop_assert_eq!(visited.len(), visits.len(), "a viewer was visited twice");
            let first_pipe = visits.iter().position(|slot| is_pipe(*slot)).unwrap_or(visits.len());
            let late = visits[first_pipe..].iter().filter(|slot| !is_pipe(**slot));
            prop_assert_eq!(late.filter(|slot| **slot < 20).count(), 0, "sockets come first");
            prop_assert!(due.is_subset(&visited), "left out: {:?}", due.difference(&visited));
        }
    }
}
