//! `lc man`: writes man pages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::arguments::path;
use super::output::note;

/// Write man pages of all commands into a directory
///
/// Example: lc man ~/.local/share/man/man1
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory; it is made if it does not exist
    #[arg(value_name = "DIR", value_parser = path)]
    directory: PathBuf,
}

pub(super) fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    let shown = directory.display();
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))?;
    let command = super::Cli::command();
    clap_mangen::generate_to(command, directory)
        .with_context(|| format!("cannot write man pages to {shown}"))?;
    note(&format!("lc: man pages are in {shown}"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let args = ManArgs { directory: directory.path().join("man1") };
        run(&args).unwrap();
        let page = |name: &str| {
            let path = args.directory.join(format!("{name}.1"));
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let command = crate::cli::Cli::command();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            page(&format!("lc-{}", sub.get_name()));
        }
        let main = page("lc");
        assert!(main.contains("Exit codes"), "{main}");
        assert!(page("lc-ban").contains("keep them out"));
    }
}
