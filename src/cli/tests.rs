use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

/// The help of a command and of all below it, each under its own name.
fn helps(command: &clap::Command, path: &str, into: &mut Vec<(String, String)>) {
    let mut shown = command.clone().bin_name(path.replace('_', " "));
    into.push((path.to_owned(), shown.render_long_help().to_string()));
    for sub in command.get_subcommands() {
        helps(sub, &format!("{path}_{}", sub.get_name()), into);
    }
}

#[test]
fn every_help_reads_as_agreed() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut all = Vec::new();
    helps(&command, "lc", &mut all);
    assert!(all.len() > 25);
    for (name, help) in all {
        insta::assert_snapshot!(format!("help_{name}"), help);
    }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn values_are_checked_before_anything_is_asked_of_the_daemon() {
    let wrong = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap_err();
    for line in [
        "lc throttle 1 110%",
        "lc throttle auto",
        "lc throttle 0 auto",
        "lc ban troll --for soon",
        "lc timeout troll --for 0s",
        "lc delete 42",
        "lc token --user ann",
        "lc token --user 1 --count 0",
        "lc top --interval 1ms",
        "lc streams create --state open",
    ] {
        assert!(
            matches!(wrong(line).kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue),
            "{line}: {}",
            wrong(line)
        );
    }
    assert_eq!(wrong("lc streams update 7").kind(), ErrorKind::MissingRequiredArgument);
    assert_eq!(wrong("lc dm ann").kind(), ErrorKind::MissingRequiredArgument);
    assert_eq!(wrong("lc").kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
}

#[test]
fn global_options_may_stand_anywhere() {
    let cli = Cli::try_parse_from(["lc", "ban", "ann", "--json", "--socket", "/a.sock"]).unwrap();
    assert!(cli.json);
    assert_eq!(cli.socket, Some("/a.sock".into()));
}
