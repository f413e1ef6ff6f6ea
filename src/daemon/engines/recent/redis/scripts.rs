//! What runs inside Redis, each script at once and alone.

use redis::Script;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) after: Script,
    pub(super) bury: Script,
    pub(super) buried: Script,
    pub(super) is_complete: Script,
    pub(super) mark_complete: Script,
    pub(super) mark_incomplete: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            append: Script::new(include_str!("append.lua")),
            after: Script::new(include_str!("after.lua")),
            bury: Script::new(include_str!("bury.lua")),
            buried: Script::new(include_str!("buried.lua")),
            is_complete: Script::new(include_str!("is_complete.lua")),
            mark_complete: Script::new(include_str!("mark_complete.lua")),
            mark_incomplete: Script::new(include_str!("mark_incomplete.lua")),
        }
    }
}
