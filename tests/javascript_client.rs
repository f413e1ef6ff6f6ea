//! The JavaScript client library in `web/client`: its own checks, and all it promises against a
//! daemon, over each transport.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use live_comments::protocol::Role;
use support::Daemon;

/// Returns the folder of the library, with the packages that check it.
fn library() -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/client");
    let packages = library.join("node_modules");
    assert!(packages.exists(), "{} is missing: run scripts/setup", packages.display());
    library
}

fn assert_passes(command: &mut Command) {
    let output = command.current_dir(library()).output().expect("node and npm are installed");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}\n{errors}", output.status);
}

#[test]
fn the_library_has_sound_types() {
    assert_passes(Command::new("npm").args(["run", "--silent", "check"]));
}

#[test]
fn the_library_passes_its_unit_tests() {
    assert_passes(Command::new("npm").args(["test", "--silent"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_keeps_its_promises_over_each_transport() {
    let daemon = Daemon::start("[moderation]\nstages = [\"rules\"]\n");
    let mut command = Command::new("node");
    command
        .arg("test/daemon.js")
        .env("LCD_URL", format!("http://{}", daemon.address))
        .env("LCD_TOKEN_ANN", daemon.token(41, "ann"))
        .env("LCD_TOKEN_BOB", daemon.token(42, "bob"))
        .env("LCD_TOKEN_MODERATOR", daemon.token_of(43, "mod", Role::Moderator));
    tokio::task::spawn_blocking(move || assert_passes(&mut command)).await.unwrap();
}
