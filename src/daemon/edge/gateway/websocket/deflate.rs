//! permessage-deflate (RFC 7692 §7.1): which offers can be kept, and the answer to them.
//!
//! One compressed frame serves every viewer and no viewer holds a compressor. The answer always takes
//! the context away from the client, which a server may do to any offer (§7.1.1). Its own context the
//! server keeps where the mode is `shared`, because all viewers of a stream are sent one deflate
//! stream; a client that demands `server_no_context_takeover` gets each frame by itself. A smaller
//! server window cannot be promised in either way; such an offer is passed over.

use axum::http::HeaderValue;

use crate::daemon::base::config::DeflateMode;
use crate::daemon::base::handoff::Deflate;

const NAME: &str = "permessage-deflate";

/// What is agreed, and how it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) deflate: Deflate,
    /// `Sec-WebSocket-Extensions`.
    pub(super) answer: &'static str,
}

impl Agreed {
    /// An offer that names the server's window must be told the one it gets (§7.1.2.1).
    fn new(deflate: Deflate, names_window: bool) -> Option<Self> {
        let answer = match (deflate, names_window) {
            (Deflate::Off, _) => return None,
            (Deflate::Single, false) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            (Deflate::Single, true) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=15"
            }
            (Deflate::Shared, false) => "permessage-deflate; client_no_context_takeover",
            (Deflate::Shared, true) => {
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=15"
            }
        };
        Some(Self { deflate, answer })
    }
}

/// The answer to the first offer that can be kept; `None` if there is none.
///
/// # Errors
/// The header breaks its grammar (RFC 6455 §9.1).
pub(super) fn negotiate<'a>(
    values: impl IntoIterator<Item = &'a HeaderValue>,
    mode: DeflateMode,
) -> Result<Option<Agreed>, ()> {
    let mut agreed = None;
    for value in values {
        for offer in split(value.to_str().map_err(drop)?, ',')? {
            agreed = agreed.or(answer(&parse_offer(offer)?, mode));
        }
    }
    Ok(agreed)
}

/// An extension's name and its parameters.
struct Offer<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<&'a str>)>,
}

fn answer(offer: &Offer<'_>, mode: DeflateMode) -> Option<Agreed> {
    let mut deflate = match mode {
        DeflateMode::Shared => Deflate::Shared,
        DeflateMode::Single => Deflate::Single,
        DeflateMode::Off => return None,
    };
    if !offer.name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut names_window = false;
    for (at, (name, value)) in offer.parameters.iter().enumerate() {
        if offer.parameters[..at].iter().any(|(earlier, _)| earlier == name) {
            return None;
        }
        match (*name, *value) {
            ("client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("server_no_context_takeover", None) => deflate = Deflate::Single,
            ("client_max_window_bits", Some(bits)) if window_bits(bits).is_some() => {}
            ("server_max_window_bits", Some(bits)) if window_bits(bits) == Some(15) => {
                names_window = true;
            }
            _ => return None,
        }
    }
    Agreed::new(deflate, names_window)
}

/// 8 to 15, without leading zeros.
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!text.starts_with(['0', '+'])).then_some(bits)
}

fn parse_offer(text: &str) -> Result<Offer<'_>, ()> {
    let mut parts = split(text, ';')?.into_iter();
    let name = token(parts.next().ok_or(())?)?;
    let parameters = parts
        .map(|part| match part.split_once('=') {
            None => Ok((token(part)?, None)),
            Some((name, value)) => Ok((token(name.trim())?, Some(unquoted(value.trim())?))),
        })
        .collect::<Result<_, ()>>()?;
    Ok(Offer { name, parameters })
}

/// Splits at `separator` outside of quotes; the parts are trimmed.
fn split(text: &str, separator: char) -> Result<Vec<&str>, ()> {
    let mut quoted = false;
    let parts: Vec<_> = text
        .split(|c| {
            quoted ^= c == '"';
            c == separator && !quoted
        })
        .map(str::trim)
        .collect();
    if quoted { Err(()) } else { Ok(parts) }
}

/// A quoted value must, unquoted, be a token (RFC 6455 §9.1), so it holds no escapes.
fn unquoted(value: &str) -> Result<&str, ()> {
    match value.strip_prefix('"') {
        Some(rest) => token(rest.strip_suffix('"').ok_or(())?),
        None => token(value),
    }
}

fn token(text: &str) -> Result<&str, ()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(allowed) { Ok(text) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn negotiate_in(mode: DeflateMode, text: &str) -> Result<Option<Agreed>, ()> {
        negotiate([&HeaderValue::from_str(text).unwrap()], mode)
    }

    fn negotiate_one(text: &str) -> Result<Option<Agreed>, ()> {
        negotiate_in(DeflateMode::Shared, text)
    }

    fn agreed(deflate: Deflate) -> Result<Option<Agreed>, ()> {
        Ok(Agreed::new(deflate, false))
    }

    #[test]
    fn offers_that_can_be_kept_are_answered_with_the_servers_context_where_they_allow_it() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=\"12\"",
            "permessage-deflate; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "Permessage-Deflate",
        ] {
            assert_eq!(negotiate_one(offer), agreed(Deflate::Shared), "{offer}");
            let single = negotiate_in(DeflateMode::Single, offer);
            assert_eq!(single, agreed(Deflate::Single), "{offer}");
            assert_eq!(negotiate_in(DeflateMode::Off, offer), Ok(None), "{offer}");
        }
        let demand = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(negotiate_one(demand), agreed(Deflate::Single));
        let window = "permessage-deflate; server_max_window_bits=15";
        assert_eq!(negotiate_one(window), Ok(Agreed::new(Deflate::Shared, true)));
        let answer = negotiate_one(window).unwrap().unwrap().answer;
        assert_eq!(
            answer,
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=15"
        );
    }

    #[test]
    fn offers_that_cannot_be_kept_are_passed_over() {
        for offer in [
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; unheard_of",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            assert_eq!(negotiate_one(offer), Ok(None), "{offer}");
        }
        assert_eq!(negotiate([], DeflateMode::Shared), Ok(None));
    }

    #[test]
    fn what_breaks_the_grammar_is_an_error() {
        for offer in [
            "permessage-deflate; =1",
            ",",
            "permessage-deflate;",
            "a b",
            "x; y=\"1",
            "x; y=\"a,b\"",
        ] {
            assert_eq!(negotiate_one(offer), Err(()), "{offer}");
        }
    }

    #[test]
    fn offers_may_come_in_several_lines() {
        let lines = ["x-other", "permessage-deflate"].map(HeaderValue::from_static);
        assert_eq!(negotiate(&lines, DeflateMode::Shared), agreed(Deflate::Shared));
    }

    proptest! {
        #[test]
        fn any_text_is_answered_without_a_panic(text in "[ -~]{0,80}") {
            let _ = negotiate_one(&text);
        }
    }
}
