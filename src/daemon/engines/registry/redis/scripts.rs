//! What is done in one step on the server.

use redis::Script;

/// Compiled once; a server that does not have one yet is given it by the call that finds that out.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) register: Script,
    pub(super) locate: Script,
    pub(super) beat: Script,
    pub(super) leave: Script,
    pub(super) nodes: Script,
    pub(super) viewers: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            register: Script::new(include_str!("register.lua")),
            locate: Script::new(include_str!("locate.lua")),
            beat: Script::new(include_str!("beat.lua")),
            leave: Script::new(include_str!("leave.lua")),
            nodes: Script::new(include_str!("nodes.lua")),
            viewers: Script::new(include_str!("viewers.lua")),
        }
    }
}
