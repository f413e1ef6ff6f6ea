//! The paths a file names: in `use` declarations and in the middle of code alike.

use crate::source::Source;

/// What paths into this crate begin with, from inside it and from its binaries.
const ROOTS: [&str; 3] = ["crate", "super", "live_comments"];

/// Every path into the crate, from its root, groups taken apart.
pub(crate) fn of(source: &Source) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ROOTS {
        for start in words(&source.code, root) {
            let mut paths = Vec::new();
            expand(&source.code[start..], Vec::new(), &mut paths);
            found.extend(paths.into_iter().filter_map(|path| resolve(source, &path)));
        }
    }
    found
}

/// Whether the file names a library, as the beginning of a path.
pub(crate) fn names(source: &Source, library: &str) -> bool {
    words(&source.code, library).any(|start| {
        let after = source.code[start + library.len()..].trim_start();
        let before = source.code[..start].trim_end();
        after.starts_with("::") || (before.ends_with("use") && after.starts_with(';'))
    })
}

/// Where a word stands that no path leads up to.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(start, _)| start).filter(move |start| {
        let (before, after) = (&code[..*start], &code[start + word.len()..]);
        let whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        // `::redis` begins a path, `bus::redis` continues one.
        let leads = before.trim_end().strip_suffix("::").map(|path| path.trim_end());
        whole && leads.is_none_or(|path| !path.ends_with(|c: char| is_part(c) || c == '>'))
    })
}

/// Reads `a::b`, `a::{b, c::d}`, adds each path, and returns what was read.
fn expand(text: &str, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length > 0 {
            path.push(rest[..length].to_owned());
            rest = &rest[length..];
        }
        let Some(after) = rest.trim_start().strip_prefix("::") else { break };
        rest = after.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = &group[expand_group(group, &path, paths)..];
            return text.len() - rest.len();
        }
        if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            break;
        }
    }
    paths.push(path);
    text.len() - rest.len()
}

fn expand_group(group: &str, path: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    while at < group.len() {
        match group[at..].chars().next() {
            Some('}') | None => return at + 1,
            Some(c) if c.is_alphanumeric() || c == '_' => {
                at += expand(&group[at..], path.to_vec(), paths);
            }
            // Commas, spaces, `*`, and the new names of `as` come to nothing of their own.
            Some(c) => at += c.len_utf8(),
        }
    }
    at
}

/// From the crate's root; `None` for what lies outside of it.
fn resolve(source: &Source, path: &[String]) -> Option<Vec<String>> {
    let (first, mut rest) = path.split_first()?;
    let mut resolved = Vec::new();
    if first == "super" {
        resolved.clone_from(&source.module);
        resolved.pop()?;
        while rest.first().is_some_and(|word| word == "super") {
            resolved.pop()?;
            rest = &rest[1..];
        }
    }
    resolved.extend_from_slice(rest);
    (!resolved.is_empty()).then_some(resolved)
}
