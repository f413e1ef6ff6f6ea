//! The viewers of a stream on one worker, and how many of them the fan-out under way has come by.

/// Slots of viewers, in the order in which they are written to.
///
/// A fan-out is interrupted, and viewers come and go meanwhile. Always holds: who was there when it began
/// and has not been come by stands behind who has, so nobody is left out. Who came since may be come by
/// too, which costs a look.
#[derive(Debug, Default)]
pub(super) struct Members {
    slots: Vec<u32>,
    /// So many of the first have been come by.
    passed: usize,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Adds a viewer; its place.
    pub(super) fn add(&mut self, slot: usize) -> u32 {
        self.slots.push(slot as u32);
        (self.slots.len() - 1) as u32
    }

    /// Takes out the viewer at a place; who stands elsewhere because of it, and where: two at most.
    pub(super) fn remove(&mut self, place: usize) -> impl Iterator<Item = (usize, u32)> + use<> {
        let mut hole = place;
        if place < self.passed {
            // Its place goes to the last who has been come by, and theirs to the last of all, who may
            // have yet to be.
            self.passed -= 1;
            self.slots.swap(place, self.passed);
            hole = self.passed;
        }
        self.slots.swap_remove(hole);
        let moved =
            [place, hole].map(|at| self.slots.get(at).map(|slot| (*slot as usize, at as u32)));
        moved.into_iter().flatten()
    }

    /// From here on the next is the first again.
    pub(super) fn rewind(&mut self) {
        self.passed = 0;
    }

    /// The next to be written.
    pub(super) fn next(&mut self) -> Option<usize> {
        let slot = *self.slots.get(self.passed)?;
        self.passed += 1;
        Some(slot as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Members, and where each believes that it stands.
    #[derive(Default)]
    struct Rig {
        members: Members,
        places: std::collections::BTreeMap<usize, u32>,
    }

    impl Rig {
        fn add(&mut self, slot: usize) {
            self.places.insert(slot, self.members.add(slot));
        }

        fn remove(&mut self, slot: usize) {
            let place = self.places.remove(&slot).unwrap();
            self.places.extend(self.members.remove(place as usize));
        }
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_a_round_comes_by_all_who_stay_and_nobody_twice(
            steps in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut rig = Rig::default();
            (0..20).for_each(|slot| rig.add(slot));
            let mut next_slot = 20;
            let (mut due, mut came_by): (BTreeSet<usize>, Vec<usize>) = ((0..20).collect(), vec![]);
            rig.members.rewind();
            for (step, which) in steps {
                let here: Vec<usize> = rig.places.keys().copied().collect();
                match step {
                    0 => came_by.extend(rig.members.next()),
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
                for (slot, place) in &rig.places {
                    prop_assert_eq!(rig.members.slots()[*place as usize] as usize, *slot);
                }
            }
            came_by.extend(std::iter::from_fn(|| rig.members.next()));
            let once: BTreeSet<usize> = came_by.iter().copied().collect();
            prop_assert_eq!(once.len(), came_by.len(), "nobody twice");
            prop_assert!(due.is_subset(&once), "{:?} were left out", due.difference(&once));
        }
    }
}
