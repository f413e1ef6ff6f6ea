//! Keys, the mouse and the command line: they change the state and may have an effect outside it.

mod acting;
mod mouse;
mod palette;
mod press;
mod run;
#[cfg(test)]
mod tests;
mod typing;

pub(crate) use acting::{show_effect, undo_done};
pub(crate) use mouse::{Clicks, mouse};
pub(crate) use palette::completions;
pub(crate) use press::press;
