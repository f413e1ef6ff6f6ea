//! Scripts that run atomically on the server.

use redis::Script;

/// A server that does not know a script receives it with the first call.
#[derive(Debug)]
pub(super) struct RegistryScripts {
    pub(super) register: Script,
    pub(super) locate: Script,
    pub(super) heartbeat: Script,
    pub(super) leave: Script,
    pub(super) nodes: Script,
    pub(super) occupant: Script,
    pub(super) viewers: Script,
}

impl RegistryScripts {
    pub(super) fn new() -> Self {
        Self {
            register: Script::new(include_str!("register.lua")),
            locate: Script::new(include_str!("locate.lua")),
            heartbeat: Script::new(include_str!("heartbeat.lua")),
            leave: Script::new(include_str!("leave.lua")),
            nodes: Script::new(include_str!("nodes.lua")),
            occupant: Script::new(include_str!("occupant.lua")),
            viewers: Script::new(include_str!("viewers.lua")),
        }
    }
}
