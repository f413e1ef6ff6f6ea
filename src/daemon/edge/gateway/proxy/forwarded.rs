//! `X-Forwarded-For` and `Forwarded` (RFC 7239): the way of a request through proxies.
//!
//! Each proxy appends the address that it was reached from, so the list is read from its end: the
//! first address that is no trusted proxy is the viewer's. What stands before it came from the
//! viewer, who may write anything there; only the quotes of `Forwarded` are looked at, because one
//! that is open would hide what the proxy appends.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::debug;

use super::TrustedProxies;
use crate::daemon::base::config::{ForwardedHeader, GatewayConfig};
use crate::daemon::base::metrics::count;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::http::HttpError;
use crate::protocol::ErrorCode;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header in which requests name the viewer's address. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Forwarding {
    header: HeaderName,
    /// The form of the header's elements.
    form: ForwardedHeader,
    trusted: TrustedProxies,
    board: StatusBoard,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadForwarding {
    Untrusted,
    NoAddress,
}

impl Forwarding {
    /// Returns `None` if no header is configured.
    pub(crate) fn new(config: &GatewayConfig, board: &StatusBoard) -> Option<Self> {
        let header = match config.forwarded_header {
            ForwardedHeader::Off => return None,
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        Some(Self {
            header,
            form: config.forwarded_header,
            trusted: TrustedProxies::new(config),
            board: board.clone(),
        })
    }

    /// Returns the viewer's address, or `None` if the request does not name one.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Option<IpAddr>, BadForwarding> {
        let mut values = headers.get_all(&self.header).into_iter().peekable();
        if values.peek().is_none() {
            return Ok(None);
        }
        if !self.trusted.contains(peer) {
            return Err(BadForwarding::Untrusted);
        }
        let mut address = peer;
        for value in values.rev() {
            let value = value.to_str().map_err(|_| BadForwarding::NoAddress)?;
            let elements = self.form.elements(value).ok_or(BadForwarding::NoAddress)?;
            for element in elements.into_iter().rev() {
                address = self.form.address_of(element).ok_or(BadForwarding::NoAddress)?;
                if !self.trusted.contains(address) {
                    return Ok(Some(address));
                }
            }
        }
        Ok(Some(address))
    }

    fn refuse(&self, peer: IpAddr, bad: BadForwarding) -> Response {
        let header = &self.header;
        let text = match bad {
            BadForwarding::Untrusted => format!(
                "the header {header} is only taken from the proxies in gateway.trusted_proxies"
            ),
            BadForwarding::NoAddress => format!("the header {header} names no address"),
        };
        debug!(%peer, reason = %text, "request refused");
        let code = ErrorCode::BadForwarding;
        count(&self.board.metrics().connections_refused, code.as_str());
        let close = HeaderValue::from_static("close");
        HttpError::new(code, text).with_header("connection", close).into_response()
    }
}

/// Middleware that replaces the peer's address by the one that a trusted proxy names.
pub(crate) async fn believe(
    State(forwarding): State<Forwarding>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    if let Some(peer) = peer {
        match forwarding.address(peer.ip(), request.headers()) {
            Ok(None) => {}
            Ok(Some(address)) => {
                // The header does not tell the port.
                request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 0)));
            }
            Err(bad) => return forwarding.refuse(peer.ip(), bad),
        }
    }
    next.run(request).await
}

impl ForwardedHeader {
    /// Returns the elements of one value of the header, or `None` if they cannot be told apart.
    fn elements(self, value: &str) -> Option<Vec<&str>> {
        if self != Self::Forwarded {
            return Some(value.split(',').map(str::trim).collect());
        }
        has_whole_quotes(value).then(|| split(value, ','))
    }

    /// Returns the address in one element of the header.
    fn address_of(self, element: &str) -> Option<IpAddr> {
        if self != Self::Forwarded {
            return node_address(element);
        }
        let mut pairs = split(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        node_address(node.trim().trim_matches('"'))
    }
}

/// Parses an address with or without a port. One of IPv6 with a port has brackets.
fn node_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

/// Reports whether each quoted string ends, and is the whole value of a pair.
fn has_whole_quotes(text: &str) -> bool {
    let mut rest = text;
    while let Some((before, quoted)) = rest.split_once('"') {
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { return false };
        rest = &quoted[end + 1..];
        let follows = rest.trim_start().chars().next();
        if !before.ends_with('=') || !matches!(follows, None | Some(',' | ';')) {
            return false;
        }
    }
    true
}

/// Splits at `separator` outside of quotes and trims the parts.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = text.split(|c| {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        c == separator && !quoted
    });
    parts.map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forwarding(header: ForwardedHeader) -> Forwarding {
        let trusted_proxies = ["10.0.0.0/8", "2001:db8::1"].map(|text| text.parse().unwrap());
        let config = GatewayConfig {
            forwarded_header: header,
            trusted_proxies: trusted_proxies.to_vec(),
            ..Default::default()
        };
        Forwarding::new(&config, &StatusBoard::default()).unwrap()
    }

    fn address(
        header: ForwardedHeader,
        peer: &str,
        lines: &[&str],
    ) -> Result<Option<IpAddr>, BadForwarding> {
        let forwarding = forwarding(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&forwarding.header, line.parse().unwrap());
        }
        forwarding.address(peer.parse().unwrap(), &headers)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_taken() {
        let of = |lines: &[&str]| address(ForwardedHeader::XForwardedFor, "10.1.2.3", lines);
        let viewer = Ok(Some(ip("203.0.113.7")));
        for lines in [
            &["203.0.113.7"][..],
            &["203.0.113.7:4711"],
            &["198.51.100.1, 203.0.113.7"],
            &["<script>, 203.0.113.7 , 10.9.9.9"],
            &["198.51.100.1", "203.0.113.7", "10.9.9.9, 10.9.9.8"],
        ] {
            assert_eq!(of(lines), viewer, "{lines:?}");
        }
        assert_eq!(of(&["10.7.7.7"]), Ok(Some(ip("10.7.7.7"))), "a client inside");
        assert_eq!(of(&["2001:db8::7"]), Ok(Some(ip("2001:db8::7"))));
        assert_eq!(of(&["[2001:db8::7]:9"]), Ok(Some(ip("2001:db8::7"))));
        assert_eq!(of(&[]), Ok(None));
    }

    #[test]
    fn the_header_of_the_rfc_is_read() {
        let of = |lines: &[&str]| address(ForwardedHeader::Forwarded, "2001:db8::1", lines);
        for line in [
            "for=203.0.113.7",
            "For=\"203.0.113.7:4711\"; proto=https;by=10.1.1.1",
            "for=198.51.100.1;host=\"a,b;for=6.6.6.6\", proto=http; for=203.0.113.7",
            "for=unknown, for=203.0.113.7, for=10.1.1.1",
            r#"for=6.6.6.6;x="\", for=6.6.6.6", for=203.0.113.7"#,
            r#"for=6.6.6.6;x="\\", for=203.0.113.7;host="a;for=6.6.6.6""#,
        ] {
            assert_eq!(of(&[line]), Ok(Some(ip("203.0.113.7"))), "{line}");
        }
        let line = "for=\"[2001:db8:cafe::17]:4711\"";
        assert_eq!(of(&[line]), Ok(Some(ip("2001:db8:cafe::17"))));
        for line in ["for=unknown", "for=_hidden", "by=10.1.1.1", "203.0.113.7", ""] {
            assert_eq!(of(&[line]), Err(BadForwarding::NoAddress), "{line}");
        }
    }

    #[test]
    fn an_open_quote_hides_no_address() {
        let proxies = [
            "for=203.0.113.7",
            "for=\"203.0.113.7:4711\"",
            "for=\"10.1.1.1\"",
            r#"for=203.0.113.7;host="a\"b""#,
        ];
        for viewer in [r#"for=6.6.6.6;x=""#, r#"for=6.6.6.6;x="\"#, r#"for=6.6.6.6;x="\""#] {
            for proxy in proxies {
                let line = format!("{viewer}, {proxy}");
                let found = address(ForwardedHeader::Forwarded, "10.1.2.3", &[&line]);
                assert_eq!(found, Err(BadForwarding::NoAddress), "{line}");
            }
        }
        let line = "6.6.6.6, \", 203.0.113.7";
        let found = address(ForwardedHeader::XForwardedFor, "10.1.2.3", &[line]);
        assert_eq!(found, Ok(Some(ip("203.0.113.7"))), "quotes mean nothing in {line}");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let of = |peer, lines: &[&str]| address(ForwardedHeader::XForwardedFor, peer, lines);
        assert_eq!(of("203.0.113.9", &["10.1.2.3"]), Err(BadForwarding::Untrusted));
        assert_eq!(of("203.0.113.9", &[]), Ok(None), "a viewer that is not behind a proxy");
        for garbage in ["localhost", "1.2.3", "203.0.113.7, ", "1.2.3.4:99999"] {
            assert_eq!(of("10.1.2.3", &[garbage]), Err(BadForwarding::NoAddress), "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer(text in "[ -~]{0,80}") {
            for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
                let _ = address(header, "10.1.2.3", &[&text]);
            }
        }
    }
}
