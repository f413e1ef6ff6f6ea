//! How many viewers a node and an address hold.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::daemon::base::config::GatewayConfig;

/// The places of one node. When all are taken, whoever comes is refused at once; nobody waits.
#[derive(Debug)]
pub(crate) struct Places {
    max_connections: u32,
    /// 0 is no limit; addresses are then not counted at all.
    max_per_address: u32,
    taken: AtomicU32,
    /// As many entries as addresses with viewers.
    by_address: Mutex<AHashMap<IpAddr, u32>>,
}

/// A viewer's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

impl Places {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            max_connections: config.max_connections,
            max_per_address: config.max_connections_per_address,
            taken: AtomicU32::new(0),
            by_address: Mutex::default(),
        }
    }

    /// `None` when the node is full.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let more = |taken: u32| (taken < self.max_connections).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place { places: self.clone(), address: None })
    }

    fn addresses(&self) -> parking_lot::MutexGuard<'_, AHashMap<IpAddr, u32>> {
        self.by_address.lock()
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Counts the place for an address as well; the limit that is reached, if it is.
    pub(crate) fn count_address(&mut self, address: IpAddr) -> Result<(), u32> {
        let limit = self.places.max_per_address;
        if limit == 0 || self.address.is_some() {
            return Ok(());
        }
        let address = subscriber(address);
        let mut addresses = self.places.addresses();
        let count = addresses.entry(address).or_insert(0);
        if *count >= limit {
            return Err(limit);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut addresses = self.places.addresses();
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// One subscriber of IPv6 has a /64 and could otherwise bring 2^64 addresses.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max_connections: u32, max_connections_per_address: u32) -> Arc<Places> {
        let config =
            GatewayConfig { max_connections, max_connections_per_address, ..Default::default() };
        Arc::new(Places::new(&config))
    }

    #[test]
    fn a_full_node_has_room_again_when_a_place_is_dropped() {
        let places = places(2, 0);
        let first = places.take().unwrap();
        let _second = places.take().unwrap();
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
        assert_eq!(places.taken(), 1);
    }

    #[test]
    fn an_address_has_its_own_limit_and_leaves_nothing_behind() {
        let places = places(10, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut one = places.take().unwrap();
        let mut two = places.take().unwrap();
        assert_eq!(one.count_address(address("192.0.2.1")), Ok(()));
        assert_eq!(two.count_address(address("::ffff:192.0.2.1")), Err(1), "the same, mapped");
        assert_eq!(two.count_address(address("2001:db8::1")), Ok(()));
        let mut three = places.take().unwrap();
        assert_eq!(three.count_address(address("2001:db8::ffff:2")), Err(1), "the same /64");
        drop(one);
        assert_eq!(three.count_address(address("192.0.2.1")), Ok(()));
        drop((two, three));
        assert!(places.addresses().is_empty());
        assert_eq!(places.taken(), 0);
    }
}
