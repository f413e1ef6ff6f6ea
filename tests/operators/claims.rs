//! Checks that what the documents tell a reader to type, to set and to open is there.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use live_comments::daemon::base::config::Config;
use live_comments::protocol::message::{CommentsBatch, ServerMessage, json, msgpack};
use serde_json::Value;

use crate::support::{self, Daemon};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every document, by its path from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let documents: Vec<_> = listed
        .lines()
        .map(|path| (PathBuf::from(path), std::fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    assert!(documents.len() > 10, "{listed}");
    documents
}

/// Returns the commands in a document: the lines of its code blocks and its code within text.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, part) in text.split("```").enumerate() {
        if number % 2 == 1 {
            let joined = part.replace("\\\n", " ");
            let lines = joined.lines().skip(1).flat_map(|line| line.split("; "));
            found.extend(lines.map(|line| line.split("  #").next().unwrap().trim().to_owned()));
        } else {
            let code = part.split('`').skip(1).step_by(2);
            found.extend(code.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    found
}

/// Splits a command at spaces, but not inside double quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (number, part) in command.split('"').enumerate() {
        if number % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (number, word) in part.split(' ').enumerate() {
            if number > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the arguments of `lc` or `lcd`, with something valid in place of capitals.
fn arguments<'a>(program: &str, command: &'a [String]) -> Option<Vec<&'a str>> {
    let mut command: &[String] = command;
    if command.first().is_some_and(|word| word == "sudo") {
        command = &command[1..];
    }
    let own = match command {
        [cargo, run, rest @ ..] if cargo == "cargo" && run == "run" => {
            let (before, after) = rest.split_at(rest.iter().position(|word| word == "--")?);
            before.iter().any(|word| word == program).then_some(&after[1..])?
        }
        [first, rest @ ..] if first == program => rest,
        _ => return None,
    };
    let end = own.iter().position(|word| matches!(word.as_str(), "|" | "&" | "&&" | ">" | "<"));
    let own = &own[..end.unwrap_or(own.len())];
    if own.iter().any(|word| word.contains(['…', '▶']) || word == "COMMAND") {
        return None;
    }
    let value = |word: &'a String| match word.as_str() {
        "COMMENT_ID" => "2f5e1c80-c6e5-11f0-8000-0242ac120002",
        "STREAM" => "1",
        word => word,
    };
    Some(own.iter().map(value).collect())
}

/// `--help` at the end is answered after everything before it was accepted.
#[test]
fn commands_in_documents_are_accepted() {
    let mut checked = 0;
    for (path, text) in documents().iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md")) {
        for command in commands(text) {
            let words = words(&command);
            for (program, binary) in
                [("lc", env!("CARGO_BIN_EXE_lc")), ("lcd", env!("CARGO_BIN_EXE_lcd"))]
            {
                let Some(arguments) = arguments(program, &words) else { continue };
                if arguments.contains(&"--version") {
                    continue;
                }
                let output = Command::new(binary).args(&arguments).arg("--help").output().unwrap();
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{}: `{command}`: {error}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 30, "only {checked} commands were found");
}

/// Scripts, tests, benchmarks and recipes that a document tells to run.
#[test]
fn programs_in_documents_exist() {
    let justfile = std::fs::read_to_string(root().join("justfile")).unwrap();
    let bench = std::fs::read_to_string(root().join("scripts/bench")).unwrap();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut checked = 0;
    for (path, text) in documents() {
        for command in commands(&text) {
            let words: Vec<_> = command.split_whitespace().collect();
            for (at, word) in words.iter().enumerate() {
                let next = words.get(at + 1).copied().unwrap_or_default();
                if next == "NAME" {
                    continue;
                }
                let there = match *word {
                    "just" if at == 0 => {
                        let recipe = |line: &str| line.split([' ', ':']).next() == Some(next);
                        justfile.lines().any(recipe)
                    }
                    "--test" | "--bench" => manifest.contains(&format!("name = \"{next}\"")),
                    "scripts/bench" if !next.is_empty() => bench.contains(&format!("{next} ")),
                    script if script.starts_with("scripts/") => {
                        root().join(script.trim_end_matches(['.', ',', ';'])).exists()
                    }
                    _ => continue,
                };
                assert!(there, "{}: `{command}`: there is no {word} {next}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 20, "only {checked} programs were found");
}

/// Returns the value of a setting in the default configuration.
fn default_of<'a>(defaults: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(defaults, |value, part| value.get(part))
}

/// Returns a number with its unit in a form that compares: `2,000`, `32 KiB`, `10 minutes`.
fn quantity(text: &str) -> String {
    let text = text.trim().replace(',', "");
    if let Ok(time) = humantime::parse_duration(&text) {
        return format!("{time:?}");
    }
    if let Ok(bytes) = text.parse::<bytesize::ByteSize>() {
        return bytes.as_u64().to_string();
    }
    text
}

/// A setting is written as `` `section.key` ``, or `` `section.key` (default) ``.
#[test]
fn settings_in_documents_exist_with_their_defaults() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let sections: BTreeSet<_> = defaults.as_object().unwrap().keys().cloned().collect();
    let mut names = 0;
    let mut values = 0;
    for (path, text) in documents().iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md")) {
        let parts: Vec<_> = text.split('`').collect();
        for (at, key) in parts.iter().enumerate().skip(1).step_by(2) {
            let Some((section, rest)) = key.split_once('.') else { continue };
            let is_key = rest.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c));
            let is_file = Path::new(key).extension().is_some_and(|it| it == "rs" || it == "md");
            if !sections.contains(section) || !is_key || is_file {
                continue;
            }
            let value = default_of(&defaults, key);
            let value = value.unwrap_or_else(|| panic!("{}: no setting {key}", path.display()));
            names += 1;
            let stated = parts.get(at + 1).and_then(|text| text.strip_prefix(" ("));
            let stated = stated.and_then(|text| text.split([')', ';']).next());
            let stated = stated.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
            if let Some(stated) = stated {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let same = quantity(stated) == quantity(&value);
                assert!(same, "{}: {key} is {value}, not {stated}", path.display());
                values += 1;
            }
        }
    }
    assert!(names >= 25 && values >= 6, "only {names} settings and {values} defaults were found");
}

/// The table of limits states a default and the setting that it is the default of.
#[test]
fn limits_in_the_protocol_are_the_defaults() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let text = std::fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let (_, table) = text.split_once("### Limits").unwrap();
    let (table, _) = table.split_once("## Messages to the viewer").unwrap();
    let mut checked = 0;
    for row in table.lines().filter(|line| line.contains('`') && line.contains(": ")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (_, stated) = cells[1].split_once(": ").unwrap();
        let keys: Vec<_> = cells[2].split('`').skip(1).step_by(2).collect();
        for (key, stated) in keys.into_iter().zip(stated.split(", ")) {
            let value = default_of(&defaults, key).unwrap_or_else(|| panic!("no setting {key}"));
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let mut words = stated.split(' ');
            let number = words.next().unwrap().replace(',', "");
            let with_unit = quantity(&format!("{number} {}", words.next().unwrap_or_default()));
            let none = number == "none" && value == "0";
            let value = quantity(&value);
            assert!(none || value == number || value == with_unit, "{key} is {value}: {row}");
            checked += 1;
        }
    }
    assert!(checked >= 9, "only {checked} limits were found");
}

#[tokio::test]
async fn metrics_in_documents_exist() {
    let daemon = Daemon::start("");
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let exposition = String::from_utf8(support::raw(&daemon, request).await).unwrap();
    let mut checked = 0;
    for (path, text) in documents() {
        for name in text.split('`').filter(|code| code.starts_with("lcd_")) {
            let name = name.split('{').next().unwrap();
            let prefix = name.trim_end_matches('*').trim_end_matches("_total");
            let there = exposition.lines().any(|line| line.contains(&format!(" {prefix}")));
            assert!(there, "{}: there is no metric {name}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} metrics were found");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let documents = documents();
    let anchors = |text: &str| -> BTreeSet<String> {
        let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
        let anchor = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        };
        headings.map(anchor).collect()
    };
    let mut checked = 0;
    for (path, text) in &documents {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = root().join(path.parent().unwrap());
            let target = if file.is_empty() { root().join(path) } else { folder.join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(&target).unwrap();
                assert!(anchors(&target).contains(anchor), "{}: no {link}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "only {checked} links were found");
}

/// The bytes that the protocol's document explains, as the code reads and writes them.
#[test]
fn the_example_in_messagepack_is_what_it_says() {
    let text = std::fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let (_, example) = text.split_once("For example, these bytes").unwrap();
    let hex: String = example.split("```").nth(1).unwrap().split_whitespace().collect();
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
    let bytes: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect();
    let message = msgpack::decode_server(&bytes).unwrap();
    assert_eq!(msgpack::encode(&message), bytes, "it is the encoding that the server sends");
    let ServerMessage::Comments(batch) = &message else { panic!("{message:?}") };
    let CommentsBatch { epoch, from_seq, to_seq, comments, .. } = batch;
    assert_eq!((epoch.0, *from_seq, *to_seq, comments.len()), (3, 841, 844, 2));
    let [first, second] = &comments[..] else { panic!("{comments:?}") };
    assert_eq!(first.comment_id.to_string(), "2f5e1c80-c6e5-11f0-8000-0242ac120002");
    assert_eq!(second.comment_id.to_string(), "2f5e1c91-c6e5-11f0-8000-0242ac120002");
    assert_eq!((second.user_id.0, &*second.name, &*second.message), (43, "bob", "hi"));
    assert_eq!((first.seq, second.seq), (841, 844));
    assert_eq!(second.created_at + 1, second.comment_id.unix_ms());
    assert_eq!(json::decode_server(&json::encode(&message)).unwrap(), message);
}
