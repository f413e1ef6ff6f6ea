//! Code that runs in browsers: the checks of the client library in `web/client` and of the pages in
//! `web/page`, and all that the library promises against a daemon, over each transport.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use live_comments::protocol::Role;

use crate::support::Daemon;

const LIBRARY: &str = "web/client";
const PAGES: &str = "web";

/// Returns a folder of the repository. The packages that check it are those of the library.
fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join(LIBRARY).join("node_modules");
    assert!(packages.exists(), "{} is missing: run scripts/setup", packages.display());
    root.join(name)
}

fn assert_passes(command: &mut Command, of: &str) {
    let output = command.current_dir(folder(of)).output().expect("node and npm are installed");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}\n{errors}", output.status);
}

#[test]
fn types_are_sound() {
    for of in [LIBRARY, PAGES] {
        assert_passes(Command::new("npm").args(["run", "--silent", "check"]), of);
    }
}

#[test]
fn unit_tests_pass() {
    for of in [LIBRARY, PAGES] {
        assert_passes(Command::new("npm").args(["test", "--silent"]), of);
    }
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
    tokio::task::spawn_blocking(move || assert_passes(&mut command, LIBRARY)).await.unwrap();
}
