//! Limits on the viewers of the node and of each address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::daemon::base::config::GatewayConfig;

/// The viewer slots of one node. Without a free slot a viewer is refused at once; none waits.
#[derive(Debug)]
pub(crate) struct ViewerSlots {
    max_connections: u32,
    /// 0 means no limit; addresses are then not counted at all.
    max_per_address: u32,
    taken: AtomicU32,
    /// One entry per address with viewers.
    by_address: Mutex<AHashMap<IpAddr, u32>>,
}

/// A viewer's slot, returned when it is dropped.
#[derive(Debug)]
pub(crate) struct ViewerSlot {
    slots: Arc<ViewerSlots>,
    address: Option<IpAddr>,
}

impl ViewerSlots {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            max_connections: config.max_connections,
            max_per_address: config.max_connections_per_address,
            taken: AtomicU32::new(0),
            by_address: Mutex::default(),
        }
    }

    /// Takes a slot, or returns `None` if the node is full.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<ViewerSlot> {
        let more = |taken: u32| (taken < self.max_connections).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(ViewerSlot { slots: self.clone(), address: None })
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl ViewerSlot {
    /// Counts the slot for an address too. Returns the limit as an error if it is reached.
    pub(crate) fn count_address(&mut self, address: IpAddr) -> Result<(), u32> {
        let limit = self.slots.max_per_address;
        if limit == 0 || self.address.is_some() {
            return Ok(());
        }
        let address = subscriber_prefix(address);
        let mut addresses = self.slots.by_address.lock();
        let count = addresses.entry(address).or_insert(0);
        if *count >= limit {
            return Err(limit);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for ViewerSlot {
    fn drop(&mut self) {
        self.slots.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.slots.by_address.lock();
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// Returns the address that a limit applies to. An IPv6 subscriber has a /64, and so 2^64
/// addresses.
fn subscriber_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(max_connections: u32, max_connections_per_address: u32) -> Arc<ViewerSlots> {
        let config =
            GatewayConfig { max_connections, max_connections_per_address, ..Default::default() };
        Arc::new(ViewerSlots::new(&config))
    }

    #[test]
    fn a_dropped_slot_can_be_taken_again() {
        let slots = slots(2, 0);
        let first = slots.try_acquire().unwrap();
        let _second = slots.try_acquire().unwrap();
        assert!(slots.try_acquire().is_none());
        drop(first);
        assert!(slots.try_acquire().is_some());
        assert_eq!(slots.taken(), 1);
    }

    #[test]
    fn an_address_has_a_limit_and_leaves_no_entry() {
        let slots = slots(10, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut one = slots.try_acquire().unwrap();
        let mut two = slots.try_acquire().unwrap();
        assert_eq!(one.count_address(address("192.0.2.1")), Ok(()));
        assert_eq!(two.count_address(address("::ffff:192.0.2.1")), Err(1), "the same, mapped");
        assert_eq!(two.count_address(address("2001:db8::1")), Ok(()));
        let mut three = slots.try_acquire().unwrap();
        assert_eq!(three.count_address(address("2001:db8::ffff:2")), Err(1), "the same /64");
        drop(one);
        assert_eq!(three.count_address(address("192.0.2.1")), Ok(()));
        drop((two, three));
        assert!(slots.by_address.lock().is_empty());
        assert_eq!(slots.taken(), 0);
    }
}
