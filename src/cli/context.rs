//! What every command is told about the world.

use std::path::PathBuf;

/// The options that all commands share.
#[derive(Debug, Clone)]
pub struct Context {
    /// The daemon's admin socket.
    pub socket: PathBuf,
    pub data_dir: PathBuf,
    /// Data as JSON instead of tables.
    pub json: bool,
}
