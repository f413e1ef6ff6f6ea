//! What a connection holds of the gateway.

use super::places::Place;
use super::release::ReleaseQueue;
use crate::daemon::base::handoff::Permit;
use crate::daemon::engines::registry::RegistrationId;
use crate::protocol::UserId;

/// A user's registration; dropping it queues its removal.
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

/// What an `auth` message earns, beside the connection's own [`ViewerPermit`]. Empty if the registry
/// did not answer.
#[derive(Debug)]
pub(super) struct LatePermit {
    pub(super) _user: Option<UserPermit>,
}

impl Permit for LatePermit {}

/// A connection's place on this node, and its user's registration if it came with a token.
#[derive(Debug)]
pub(crate) struct ViewerPermit {
    pub(crate) _place: Place,
    pub(crate) _user: Option<UserPermit>,
}

impl Permit for ViewerPermit {}
