use clap::CommandFactory as _;

use super::*;

/// Collects the help of a command and of its subcommands, by name.
fn collect_help(command: &clap::Command, path: &str, into: &mut Vec<(String, String)>) {
    let mut shown = command.clone().bin_name(path.replace('_', " "));
    into.push((path.to_owned(), shown.render_long_help().to_string()));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
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
        "lc pin 1 42",
        "lc unpin one",
        "lc poll open 1 Who? --option a --option b --for 5s",
        "lc poll open 1 Who? --option a --option b --for 2d",
        "lc poll close all",
        "lc poll list 1 --limit 0",
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
    assert_eq!(parse_error("lc pin 1").kind(), ErrorKind::MissingRequiredArgument);
    assert_eq!(parse_error("lc poll open 1 Who?").kind(), ErrorKind::MissingRequiredArgument);
    assert_eq!(parse_error("lc").kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
}

#[test]
fn a_negative_duration_is_told_what_is_right() {
    for line in [
        "lc ban 42 --for -3m",
        "lc timeout 42 --for -3m",
        "lc throttle 1 50% --for -3m",
        "lc token --user 1 --name a --for -3m",
        "lc wait health=well --timeout -3m",
        "lc record 1 --duration -3m",
        "lc replay chat.lcr --from -3m",
        "lc loadgen --duration -3m",
        "lc plan --ping-interval -3m",
        "lc top --interval -3m",
    ] {
        let text = Cli::try_parse_from(line.split(' ')).unwrap_err().to_string();
        assert!(text.contains("`-3m` is not a duration"), "{line}: {text}");
        assert!(!text.contains("-- -3"), "{line}: {text}");
    }
}

#[test]
fn frequent_mistakes_have_a_tip() {
    let tip = |line: &str| usage_tip(&Cli::try_parse_from(line.split(' ')).unwrap_err());
    assert_eq!(tip("lc undo"), Some("lc audit lists the entries."));
    assert!(tip("lc streams create 2").is_some_and(|tip| tip.contains("--id 2")));
    assert_eq!(tip("lc dm ann"), None);
}

#[test]
fn global_options_are_accepted_anywhere() {
    let cli = Cli::try_parse_from(["lc", "ban", "ann", "--json", "--socket", "/a.sock"]).unwrap();
    assert!(cli.json);
    assert_eq!(cli.socket, Some("/a.sock".into()));
}

/// Collects the long options that take a count, with the words of their command.
fn count_options(command: &clap::Command, words: &[String], into: &mut Vec<(Vec<String>, String)>) {
    for option in command.get_arguments().filter(|argument| !argument.is_positional()) {
        let names = option.get_value_names().unwrap_or_default();
        if names.iter().any(|name| *name == "N") {
            let long = option.get_long().expect("a count has a long option");
            into.push((words.to_vec(), format!("--{long}")));
        }
    }
    for sub in command.get_subcommands() {
        let words = [words, &[sub.get_name().to_owned()]].concat();
        count_options(sub, &words, into);
    }
}

#[test]
fn every_count_may_be_written_with_a_unit() {
    let mut options = Vec::new();
    count_options(&Cli::command(), &["lc".to_owned()], &mut options);
    let names: Vec<_> = options.iter().map(|(_, option)| option.as_str()).collect();
    for name in ["--count", "--comments-per-minute", "--connections", "--limit", "--viewers"] {
        assert!(names.contains(&name), "{name} is no count: {names:?}");
    }
    for (words, option) in options {
        let line: Vec<_> = words.iter().cloned().chain([option.clone(), "1k".into()]).collect();
        // Other arguments are missing, but the value is checked before that.
        if let Err(error) = Cli::try_parse_from(&line) {
            let accepted =
                !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
            assert!(accepted, "{line:?}: {error}");
        }
    }
    // An option with a plain number as its value would pass unseen.
    let numeric = [std::any::TypeId::of::<u32>(), std::any::TypeId::of::<u64>()];
    let mut unnamed = Vec::new();
    collect_numbers(&Cli::command(), &numeric, &mut unnamed);
    assert_eq!(unnamed, Vec::<String>::new());
}

/// Collects the options that are numbers but are not named as counts.
fn collect_numbers(command: &clap::Command, numeric: &[std::any::TypeId], into: &mut Vec<String>) {
    for option in command.get_arguments() {
        let is_number = numeric.iter().any(|id| option.get_value_parser().type_id() == *id);
        let names = option.get_value_names().unwrap_or_default();
        if is_number && names.iter().all(|name| *name != "N") {
            into.push(format!("{} {}", command.get_name(), option.get_id()));
        }
    }
    command.get_subcommands().for_each(|sub| collect_numbers(sub, numeric, into));
}
