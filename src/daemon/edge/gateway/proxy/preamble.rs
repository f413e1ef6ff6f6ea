//! The PROXY protocol, version 2: a header before the first byte of a connection.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::TrustedProxies;

/// The signature, version and command, family, and length.
const FIXED_BYTES: usize = 16;
/// The most bytes after the fixed part: addresses, and what a proxy adds about TLS.
const MAX_REST_BYTES: usize = 4096;

const VERSION_2: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };

/// Why a connection is closed before it is served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreambleError {
    #[error("not among gateway.trusted_proxies")]
    Untrusted,
    #[error("no PROXY header of version 2: {0}")]
    Malformed(#[from] proxy_header::Error),
    #[error("the PROXY header has {0} bytes after its fixed part, more than {MAX_REST_BYTES}")]
    TooLong(usize),
    #[error("the connection ended before the end of the PROXY header: {0}")]
    Cut(#[from] io::Error),
}

impl PreambleError {
    /// Returns the reason under which the connection is counted.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted_proxy",
            Self::Malformed(_) | Self::TooLong(_) | Self::Cut(_) => "bad_proxy_header",
        }
    }
}

/// Reads the header that a trusted proxy sends first, and nothing after it. Returns the address of
/// its client. A proxy that checks whether the port is alive, or that does not know an IP address,
/// is the client itself.
///
/// # Errors
/// The peer is no trusted proxy, from which nothing is read, or the header cannot be read. The
/// connection must be closed.
pub(crate) async fn read_preamble<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    trusted: &TrustedProxies,
) -> Result<SocketAddr, PreambleError> {
    if !trusted.contains(peer.ip()) {
        return Err(PreambleError::Untrusted);
    }
    let mut bytes = vec![0; FIXED_BYTES];
    stream.read_exact(&mut bytes).await?;
    let rest_bytes = match ProxyHeader::parse(&bytes, VERSION_2) {
        // Without addresses the fixed part is all.
        Ok(_) => 0,
        Err(proxy_header::Error::BufferTooShort) => {
            usize::from(u16::from_be_bytes([bytes[FIXED_BYTES - 2], bytes[FIXED_BYTES - 1]]))
        }
        Err(error) => return Err(error.into()),
    };
    if rest_bytes > MAX_REST_BYTES {
        return Err(PreambleError::TooLong(rest_bytes));
    }
    bytes.resize(FIXED_BYTES + rest_bytes, 0);
    stream.read_exact(&mut bytes[FIXED_BYTES..]).await?;
    let (header, _) = ProxyHeader::parse(&bytes, VERSION_2)?;
    Ok(header.proxied_address().map_or(peer, |proxied| proxied.source))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use proxy_header::{ProxiedAddress, Tlv};

    use super::*;
    use crate::daemon::base::config::GatewayConfig;

    const PROXY: &str = "192.0.2.1:999";

    fn trusted() -> TrustedProxies {
        let trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        TrustedProxies::new(&GatewayConfig { trusted_proxies, ..Default::default() })
    }

    /// Returns what is read, and the bytes left behind the header.
    fn read(peer: &str, mut bytes: &[u8]) -> (Result<SocketAddr, PreambleError>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let trusted = trusted();
        let reading = read_preamble(&mut bytes, peer.parse().unwrap(), &trusted);
        let read = runtime.block_on(reading);
        (read, bytes.len())
    }

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn header(source: &str, tlv_bytes: usize) -> Vec<u8> {
        let source: SocketAddr = source.parse().unwrap();
        let target = if source.is_ipv4() { "198.51.100.9:443" } else { "[2001:db8::9]:443" };
        let address = ProxiedAddress::stream(source, target.parse().unwrap());
        let mut header = ProxyHeader::with_address(address);
        header.append_tlv(Tlv::Noop(tlv_bytes));
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_address_of_the_client_is_read_and_no_more() {
        for source in ["203.0.113.7:55555", "[2001:db8::7]:55555"] {
            for tlv_bytes in [0, 40, 3000] {
                let bytes = [&header(source, tlv_bytes)[..], b"GET /"].concat();
                let (address, left) = read(PROXY, &bytes);
                assert_eq!(address.unwrap(), source.parse().unwrap());
                assert_eq!(left, b"GET /".len());
            }
        }
        let mut check = header("203.0.113.7:55555", 0);
        check[12] = 0x20;
        assert_eq!(read(PROXY, &check).0.unwrap(), PROXY.parse().unwrap(), "a health check");
        let unknown = [SIGNATURE, &[0x21, 0, 0, 0]].concat();
        assert_eq!(read(PROXY, &unknown).0.unwrap(), PROXY.parse().unwrap());
    }

    #[test]
    fn garbage_and_strangers_are_told_apart() {
        let good = header("203.0.113.7:55555", 0);
        let mut version_3 = good.clone();
        version_3[12] = 0x31;
        let mut short = good.clone();
        short[15] = 4;
        let mut long = good.clone();
        long[14] = 0xFF;
        let cases: [(&str, &[u8], &str); 8] = [
            ("203.0.113.7:1", &good[..], "untrusted_proxy"),
            (PROXY, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "bad_proxy_header"),
            (PROXY, b"PROXY TCP4 203.0.113.7 198.51.100.9 5 443\r\n", "bad_proxy_header"),
            (PROXY, &version_3, "bad_proxy_header"),
            (PROXY, &short, "bad_proxy_header"),
            (PROXY, &long, "bad_proxy_header"),
            (PROXY, &good[..20], "bad_proxy_header"),
            (PROXY, b"", "bad_proxy_header"),
        ];
        for (peer, bytes, reason) in cases {
            let (read, _) = read(peer, bytes);
            assert_eq!(read.unwrap_err().reason(), reason, "{bytes:?}");
        }
        let (_, left) = read("203.0.113.7:1", &good);
        assert_eq!(left, good.len(), "nothing is read from a stranger");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(after_signature: bool, bytes: Vec<u8>) {
            let signature = if after_signature { SIGNATURE } else { &[] };
            let bytes = [signature, &bytes].concat();
            let _ = read(PROXY, &bytes);
        }
    }
}
