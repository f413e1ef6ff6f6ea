//! The address that the gateway listens on.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde::{Deserialize as _, Deserializer};

/// Parses an address. A name is looked up once; of several addresses IPv4 wins, as viewers without
/// IPv6 are more frequent than those without IPv4.
///
/// # Errors
/// The text is no address with a port. The error says what to type.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port_only = text.strip_prefix("*:").or(text.strip_prefix(':')).unwrap_or(text);
    if port_only.parse::<u16>().is_ok() {
        return Err(format!(
            "`{text}` has no address: write 0.0.0.0:{port_only} for every interface, or \
             127.0.0.1:{port_only} for this machine only"
        ));
    }
    let invalid =
        || format!("`{text}` is not an address with a port: write 127.0.0.1:8080 or 0.0.0.0:8080");
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    if host.contains(':') || port.parse::<u16>().is_err() {
        return Err(invalid());
    }
    let found = text.to_socket_addrs().map_err(|error| {
        format!("`{host}` in `{text}` cannot be looked up ({error}); write an address instead")
    })?;
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(invalid)
}

/// Reads the setting `gateway.listen`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parse_listen(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_work_and_the_rest_says_what_to_type() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            (" [::1]:8080 ", "[::1]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), address);
        }
        for text in [":8080", "*:8080", "8080"] {
            let error = parse_listen(text).unwrap_err();
            assert!(error.contains("write 0.0.0.0:8080"), "{text}: {error}");
        }
        for text in ["", "localhost", "127.0.0.1", "::1", "::1:", "localhost:", "localhost:99999"] {
            let error = parse_listen(text).unwrap_err();
            assert!(error.contains("write 127.0.0.1:8080"), "{text}: {error}");
        }
        let error = parse_listen("no.such.host.invalid:1").unwrap_err();
        assert!(error.contains("no.such.host.invalid"), "{error}");
    }
}
