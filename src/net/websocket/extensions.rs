//! `Sec-WebSocket-Extensions`: its grammar (RFC 6455 §9.1) and the negotiation of
//! permessage-deflate (RFC 7692 §7.1).
//!
//! One compressed frame serves every viewer and no viewer holds a compressor. The server's answer
//! always takes the context away from the client, which a server may do to any offer (§7.1.1).
//! In the mode [`Deflate::Shared`] the server keeps its own context, because all viewers of a
//! stream are sent one deflate stream; a client that demands `server_no_context_takeover` gets each
//! message compressed by itself. Neither mode compresses within a smaller window. An offer that
//! demands one is accepted only if there is no better one: the client may then compress, and is
//! sent messages that are not, which any window can read (§6).

const PERMESSAGE_DEFLATE: &str = "permessage-deflate";

macro_rules! small_window_answer {
    ($bits:literal) => {
        concat!(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; ",
            "server_max_window_bits=",
            $bits
        )
    };
}

/// The agreement on permessage-deflate. The client's messages are without context in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deflate {
    /// No compression.
    Off,
    /// Without context takeover: each message is compressed by itself.
    Single,
    /// With the server's context kept: one deflate stream for all viewers of a stream.
    Shared,
    /// The client may compress. It is sent nothing compressed, because it demands a smaller window
    /// than the one that the server compresses with.
    ReceiveOnly,
}

/// A header that breaks the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`Sec-WebSocket-Extensions` is not well-formed")]
pub struct MalformedExtensions;

/// An accepted offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedOffer {
    pub deflate: Deflate,
    /// The value of `Sec-WebSocket-Extensions` in the server's response.
    pub answer: &'static str,
}

impl AcceptedOffer {
    /// An offer that names the server's window must be answered with the window used (§7.1.2.1).
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
            // Made by [`Self::with_small_window`], which knows the window.
            (Deflate::ReceiveOnly, _) => return None,
        };
        Some(Self { deflate, answer })
    }

    /// Accepts a window of 8 to 14 bits. The server promises to keep no context as well, whether or
    /// not the client asked for it: it sends nothing that would have one.
    fn with_small_window(bits: u8) -> Option<Self> {
        let answer = *SMALL_WINDOW_ANSWERS.get(usize::from(bits.checked_sub(8)?))?;
        Some(Self { deflate: Deflate::ReceiveOnly, answer })
    }
}

/// The answers to offers with `server_max_window_bits` from 8 to 14.
const SMALL_WINDOW_ANSWERS: [&str; 7] = [
    small_window_answer!("8"),
    small_window_answer!("9"),
    small_window_answer!("10"),
    small_window_answer!("11"),
    small_window_answer!("12"),
    small_window_answer!("13"),
    small_window_answer!("14"),
];

/// Accepts the first offer that the server can compress for, at most in the given mode; without
/// such an offer, the first that it can keep by not compressing. `values` are the header's lines; a
/// line with other than visible ASCII is `None`.
pub fn accept_offer<'a>(
    values: impl IntoIterator<Item = Option<&'a str>>,
    mode: Deflate,
) -> Result<Option<AcceptedOffer>, MalformedExtensions> {
    let mut compressing = None;
    let mut receiving = None;
    for value in values {
        for extension in parse(value.ok_or(MalformedExtensions)?)? {
            let accepted = accept(&extension, mode);
            match accepted {
                Some(AcceptedOffer { deflate: Deflate::ReceiveOnly, .. }) => {
                    receiving = receiving.or(accepted);
                }
                _ => compressing = compressing.or(accepted),
            }
        }
    }
    Ok(compressing.or(receiving))
}

fn accept(offer: &Extension<'_>, mode: Deflate) -> Option<AcceptedOffer> {
    let mut deflate = mode;
    if mode == Deflate::Off || !offer.is_deflate_with_unique_parameters() {
        return None;
    }
    let mut names_window = None;
    for (name, value) in &offer.parameters {
        match (*name, *value) {
            ("client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("server_no_context_takeover", None) => deflate = Deflate::Single,
            ("client_max_window_bits", Some(bits)) if window_bits(bits).is_some() => {}
            ("server_max_window_bits", Some(bits)) => names_window = Some(window_bits(bits)?),
            _ => return None,
        }
    }
    match names_window {
        Some(bits) if bits < 15 => AcceptedOffer::with_small_window(bits),
        _ => AcceptedOffer::new(deflate, names_window.is_some()),
    }
}

/// Why a server's response cannot be accepted by the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("the server did not agree to permessage-deflate")]
    NotAgreed,
    #[error("the server uses an extension that was not offered")]
    NotOffered,
}

/// Checks the server's answer for a client that offered `permessage-deflate` without parameters, or
/// offered nothing.
pub fn check_answer(offered: bool, answer: Option<&str>) -> Result<(), BadAnswer> {
    let Some(answer) = answer else {
        return if offered { Err(BadAnswer::NotAgreed) } else { Ok(()) };
    };
    let extensions = parse(answer).map_err(|_| BadAnswer::NotOffered)?;
    match extensions.as_slice() {
        [extension] if offered && extension.is_answer_to_bare_offer() => Ok(()),
        _ => Err(BadAnswer::NotOffered),
    }
}

/// An extension's name and parameters.
struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Extension<'a> {
    fn parse(text: &'a str) -> Result<Self, MalformedExtensions> {
        let mut parts = split(text, ';')?.into_iter();
        let name = token(parts.next().ok_or(MalformedExtensions)?)?;
        let parameters = parts
            .map(|part| match part.split_once('=') {
                None => Ok((token(part)?, None)),
                Some((name, value)) => Ok((token(name.trim())?, Some(unquoted(value.trim())?))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { name, parameters })
    }

    fn is_deflate_with_unique_parameters(&self) -> bool {
        let mut earlier = Vec::with_capacity(self.parameters.len());
        for (name, _) in &self.parameters {
            if earlier.contains(name) {
                return false;
            }
            earlier.push(name);
        }
        self.name.eq_ignore_ascii_case(PERMESSAGE_DEFLATE)
    }

    /// The client's window must not be limited, since the client did not allow it (§7.1.2.2).
    fn is_answer_to_bare_offer(&self) -> bool {
        self.is_deflate_with_unique_parameters()
            && self.parameters.iter().all(|(name, value)| match (*name, *value) {
                ("client_no_context_takeover" | "server_no_context_takeover", None) => true,
                ("server_max_window_bits", Some(bits)) => window_bits(bits).is_some(),
                _ => false,
            })
    }
}

/// Accepts 8 to 15, without leading zeros.
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!text.starts_with(['0', '+'])).then_some(bits)
}

fn parse(value: &str) -> Result<Vec<Extension<'_>>, MalformedExtensions> {
    split(value, ',')?.into_iter().map(Extension::parse).collect()
}

/// Splits at `separator` outside of quotes and trims the parts.
fn split(text: &str, separator: char) -> Result<Vec<&str>, MalformedExtensions> {
    let mut quoted = false;
    let parts: Vec<_> = text
        .split(|c| {
            quoted ^= c == '"';
            c == separator && !quoted
        })
        .map(str::trim)
        .collect();
    if quoted { Err(MalformedExtensions) } else { Ok(parts) }
}

/// A quoted value must, unquoted, be a token (RFC 6455 §9.1), so it holds no escapes.
fn unquoted(value: &str) -> Result<&str, MalformedExtensions> {
    match value.strip_prefix('"') {
        Some(rest) => token(rest.strip_suffix('"').ok_or(MalformedExtensions)?),
        None => token(value),
    }
}

fn token(text: &str) -> Result<&str, MalformedExtensions> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_token = !text.is_empty() && text.bytes().all(allowed);
    if is_token { Ok(text) } else { Err(MalformedExtensions) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Accepted = Result<Option<AcceptedOffer>, MalformedExtensions>;

    fn accept_in(mode: Deflate, text: &str) -> Accepted {
        accept_offer([Some(text)], mode)
    }

    fn accepted(deflate: Deflate) -> Accepted {
        Ok(AcceptedOffer::new(deflate, false))
    }

    #[test]
    fn acceptable_offers_get_the_context_they_allow() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=\"12\"",
            "permessage-deflate; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "permessage-deflate, permessage-deflate; server_max_window_bits=10",
            "Permessage-Deflate",
        ] {
            assert_eq!(accept_in(Deflate::Shared, offer), accepted(Deflate::Shared), "{offer}");
            let single = accept_in(Deflate::Single, offer);
            assert_eq!(single, accepted(Deflate::Single), "{offer}");
            assert_eq!(accept_in(Deflate::Off, offer), Ok(None), "{offer}");
        }
        let demand = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(accept_in(Deflate::Shared, demand), accepted(Deflate::Single));
        let window = "permessage-deflate; server_max_window_bits=15";
        assert_eq!(
            accept_in(Deflate::Shared, window),
            Ok(AcceptedOffer::new(Deflate::Shared, true))
        );
        let answer = accept_in(Deflate::Shared, window).unwrap().unwrap().answer;
        assert_eq!(
            answer,
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=15"
        );
    }

    #[test]
    fn unacceptable_offers_are_passed_over() {
        for offer in [
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; unheard_of",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            assert_eq!(accept_in(Deflate::Shared, offer), Ok(None), "{offer}");
        }
        assert_eq!(accept_offer([], Deflate::Shared), Ok(None));
    }

    #[test]
    fn a_small_window_is_kept_by_not_compressing() {
        for (offer, bits) in [
            ("permessage-deflate; server_max_window_bits=14", 14),
            ("permessage-deflate; server_max_window_bits=8; client_max_window_bits=9", 8),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", 9),
            ("permessage-deflate; server_max_window_bits=10, permessage-bzip2", 10),
        ] {
            for mode in [Deflate::Single, Deflate::Shared] {
                let accepted = accept_in(mode, offer).unwrap().unwrap();
                assert_eq!(accepted.deflate, Deflate::ReceiveOnly, "{offer}");
                let expected = format!(
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                     server_max_window_bits={bits}"
                );
                assert_eq!(accepted.answer, expected);
            }
            assert_eq!(accept_in(Deflate::Off, offer), Ok(None), "{offer}");
        }
    }

    #[test]
    fn broken_grammar_is_an_error() {
        for offer in [
            "permessage-deflate; =1",
            ",",
            "permessage-deflate;",
            "a b",
            "x; y=\"1",
            "x; y=\"a,b\"",
        ] {
            assert_eq!(accept_in(Deflate::Shared, offer), Err(MalformedExtensions), "{offer}");
        }
    }

    #[test]
    fn offers_may_come_on_several_lines() {
        let lines = ["x-other", "permessage-deflate"].map(Some);
        assert_eq!(accept_offer(lines, Deflate::Shared), accepted(Deflate::Shared));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[ -~]{0,80}") {
            let _ = accept_in(Deflate::Shared, &text);
        }
    }

    #[test]
    fn an_answer_must_fit_the_offer() {
        let deflate = "permessage-deflate";
        for (offered, answer, expected) in [
            (false, None, Ok(())),
            (true, None, Err(BadAnswer::NotAgreed)),
            (true, Some(deflate), Ok(())),
            (false, Some(deflate), Err(BadAnswer::NotOffered)),
            (true, Some("permessage-deflate; server_max_window_bits=15"), Ok(())),
            (true, Some("permessage-deflate; client_no_context_takeover"), Ok(())),
            (
                true,
                Some("permessage-deflate; client_max_window_bits=10"),
                Err(BadAnswer::NotOffered),
            ),
            (true, Some("permessage-deflate, x-other"), Err(BadAnswer::NotOffered)),
            (true, Some("x-other"), Err(BadAnswer::NotOffered)),
            (true, Some(";"), Err(BadAnswer::NotOffered)),
        ] {
            assert_eq!(check_answer(offered, answer), expected, "{offered} {answer:?}");
        }
        for mode in [Deflate::Single, Deflate::Shared] {
            let answer = accept_in(mode, deflate).unwrap().unwrap().answer;
            assert_eq!(check_answer(true, Some(answer)), Ok(()), "{answer}");
        }
    }
}
