//! Permits: the places that the gateway holds for a connection.

use std::net::IpAddr;

use super::release::ReleaseQueue;
use super::slots::ViewerSlot;
use crate::daemon::base::handoff::Permit;
use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::UserId;

/// A user's registration. Dropping it queues its removal.
#[derive(Debug)]
pub(crate) struct UserPermit {
    user_id: UserId,
    registration: RegistrationId,
    releases: ReleaseQueue,
}

impl UserPermit {
    pub(super) fn new(
        user_id: UserId,
        registration: RegistrationId,
        releases: ReleaseQueue,
    ) -> Self {
        Self { user_id, registration, releases }
    }
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        self.releases.release(self.user_id, self.registration);
    }
}

/// The permit of an `auth` message, in addition to the connection's [`ViewerPermit`]. Empty if the
/// registry did not answer.
#[derive(Debug)]
pub(super) struct LatePermit {
    pub(super) _user: Option<UserPermit>,
}

impl Permit for LatePermit {}

/// A connection's slot on this node, and its user's registration if it came with a token.
#[derive(Debug)]
pub(crate) struct ViewerPermit {
    pub(crate) address: IpAddr,
    pub(crate) _slot: ViewerSlot,
    pub(crate) _user: Option<UserPermit>,
}

impl Permit for ViewerPermit {
    fn address(&self) -> Option<IpAddr> {
        Some(self.address)
    }
}
