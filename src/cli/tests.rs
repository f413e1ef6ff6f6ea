use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

/// Collects the help of a command and of its subcommands, by name.
fn collect_help(command: &clap::Command, path: &str, into: &mut Vec<(String, String)>) {
    let mut shown = command.clone().bin_name(path.replace('_', " "));
    into.push((path.to_owned(), shown.render_long_help().to_string()));
    for sub in command.get_subcommands() {
        collect_help(sub, &format!("{path}_{}", sub.get_name()), into);
    }
}

#[test]
fn help_texts_match_their_snapshots() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut all = Vec::new();
    collect_help(&command, "lc", &mut all);
    assert!(all.len() > 25);
    for (name, help) in all {
        insta::assert_snapshot!(format!("help_{name}"), help);
    }
}

#[test]
fn clap_accepts_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn invalid_values_are_rejected_while_parsing() {
    let parse_error = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap_err();
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
            matches!(
                parse_error(line).kind(),
                ErrorKind::ValueValidation | ErrorKind::InvalidValue
            ),
            "{line}: {}",
            parse_error(line)
        );
    }
    assert_eq!(parse_error("lc streams update 7").kind(), ErrorKind::MissingRequiredArgument);
    assert_eq!(parse_error("lc dm ann").kind(), ErrorKind::MissingRequiredArgument);
    assert_eq!(parse_error("lc").kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
}

#[test]
fn global_options_are_accepted_anywhere() {
    let cli = Cli::try_parse_from(["lc", "ban", "ann", "--json", "--socket", "/a.sock"]).unwrap();
    assert!(cli.json);
    assert_eq!(cli.socket, Some("/a.sock".into()));
}
