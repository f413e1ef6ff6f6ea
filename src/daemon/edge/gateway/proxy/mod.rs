//! The true address of a viewer behind proxies: from a PROXY header in front of a connection, or
//! from a header of a request.
//!
//! In: connections and requests of proxies. Out: addresses, for limits, for the registry and for
//! log lines. Always holds: only a proxy of `gateway.trusted_proxies` is believed. What anybody
//! else says about an address closes the connection, and so does what cannot be read; both are
//! counted.
//!
//! When full: nothing waits here. A header that does not arrive in time falls to the handshake
//! timeout.

mod forwarded;
mod preamble;

use std::net::IpAddr;
use std::sync::Arc;

pub(super) use forwarded::{Forwarding, believe};
pub(super) use preamble::{PreambleError, read_preamble};

use crate::daemon::base::config::{AddressRange, GatewayConfig};

/// The addresses of proxies that tell the truth. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TrustedProxies(Arc<[AddressRange]>);

impl TrustedProxies {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self(config.trusted_proxies.clone().into())
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }
}
