//! Addresses with a scheme.

use std::ops::Range;

use super::{BRACKETED_DOTS, Forbidden, path_end};

/// Returns the places of all addresses with a scheme, or the host of the first that is not allowed.
pub(super) fn check(
    text: &str,
    allows: impl Fn(&str) -> bool,
) -> Result<Vec<Range<usize>>, Forbidden> {
    let mut allowed: Vec<Range<usize>> = Vec::new();
    for (colon, _) in text.match_indices(':') {
        let inside = allowed.last().is_some_and(|address| address.contains(&colon));
        if inside && is_parameter(text, scheme_start(text, colon)) {
            continue;
        }
        let Some(rest) = after_scheme(text, colon) else { continue };
        let authority = &text[rest..];
        let end = authority.find(|c: char| c.is_whitespace() || "/\\?#".contains(c));
        let authority = &authority[..end.unwrap_or(authority.len())];
        let authority = authority.trim_end_matches(|c: char| !c.is_alphanumeric() && c != ']');
        if authority.is_empty() {
            continue;
        }
        let host = read_host(authority, &allows)?;
        let end = match host {
            Reading::Whole => path_end(text, rest + authority.len()),
            Reading::UpTo(length) => rest + length,
        };
        allowed.push(scheme_start(text, colon)..end);
    }
    Ok(allowed)
}

/// Returns the start of the scheme that ends in front of `colon`.
fn scheme_start(text: &str, colon: usize) -> usize {
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    text[..colon].trim_end_matches(in_scheme).len()
}

/// Returns whether an address that begins at `start` is a parameter or a part of the path of
/// another.
fn is_parameter(text: &str, start: usize) -> bool {
    text[..start].ends_with(['/', '=', '?', '&', '%'])
}

/// Returns where the authority begins after a scheme and its slashes, if these stand at `colon`.
fn after_scheme(text: &str, colon: usize) -> Option<usize> {
    let scheme = &text[scheme_start(text, colon)..colon];
    if !scheme.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let after = &text[colon + 1..];
    let slashes = after.len() - after.trim_start_matches(['/', '\\']).len();
    // Browsers take any number of slashes after these schemes.
    let of_browsers = ["http", "https", "ftp"].iter().any(|name| scheme.ends_with(name))
        || matches!(scheme, "ws" | "wss");
    let needed = if of_browsers { 1 } else { 2 };
    let is_local_file = scheme.ends_with("file") && slashes == 3;
    (slashes >= needed && !is_local_file).then_some(colon + 1 + slashes)
}

/// The part of an authority that its allowed host takes.
enum Reading {
    Whole,
    /// Bytes; other text follows.
    UpTo(usize),
}

fn read_host(authority: &str, allows: &impl Fn(&str) -> bool) -> Result<Reading, Forbidden> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':').filter(|(name, _)| !name.is_empty()) {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let read = url::Host::parse(host).map_or_else(|_| host.to_owned(), |host| host.to_string());
    if allows(&read) {
        return Ok(Reading::Whole);
    }
    // A comma or a bracket may end the address, but not in front of an `@`.
    let in_name = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let name = host.trim_start_matches(in_name).len();
    let name = &host[..host.len() - name];
    let is_cut = name.len() < host.len() && !authority.contains('@');
    // `hxxps://example[.]com` is checked where it is written plainly.
    let goes_on = BRACKETED_DOTS.iter().any(|dot| host[name.len()..].starts_with(dot));
    let is_first_label = goes_on && !name.contains('.');
    if is_cut && (is_first_label || allows(name.trim_end_matches('.'))) {
        return Ok(Reading::UpTo(name.len()));
    }
    Err(read)
}
