//! The daemon as viewers reach it, for commands that connect as viewers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::client::admin::AdminClient;
use crate::client::{Endpoint, Trust};
use crate::protocol::admin::Status;

/// The address of the daemon, and the certificate to expect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LocalDaemon {
    pub(super) endpoint: Endpoint,
    pub(super) trust: Trust,
}

/// Asks the daemon. Without a daemon, returns `ws://127.0.0.1:8080`. A daemon on another machine is
/// reached by the host of its admin API.
pub(super) async fn local_daemon(client: &AdminClient) -> LocalDaemon {
    let host = client.remote_host();
    let status = client.get::<Status>("/v1/status").await.ok();
    status
        .and_then(|status| {
            let certificate = status.certificate_sha256.as_deref();
            let LocalDaemon { endpoint, trust } = reached_by(&status.listen, certificate, host)?;
            Some(LocalDaemon { endpoint: endpoint.below(&status.base_path), trust })
        })
        .unwrap_or_else(|| LocalDaemon {
            endpoint: Endpoint::plain(host.unwrap_or("127.0.0.1"), 8080),
            trust: Trust::PublicAuthorities,
        })
}

/// Parses an address. An address of all interfaces is reached by loopback, or by the host of the
/// daemon on another machine. The admin API has proved that the daemon is ours, so exactly its
/// certificate is trusted, whatever name is in it.
fn reached_by(
    listen: &str,
    certificate_sha256: Option<&str>,
    host: Option<&str>,
) -> Option<LocalDaemon> {
    let address = listen.parse::<SocketAddr>().ok()?;
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let host = host.map_or_else(|| ip.to_string(), str::to_owned);
    let plain = Endpoint::plain(&host, address.port());
    let Some(digest) = certificate_sha256 else {
        return Some(LocalDaemon { endpoint: plain, trust: Trust::PublicAuthorities });
    };
    let trust = Trust::Certificate(digest.parse().ok()?);
    Some(LocalDaemon { endpoint: plain.with_tls(), trust })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interfaces_are_reached_by_loopback() {
        for (listen, url) in [
            ("127.0.0.1:9000", "ws://127.0.0.1:9000"),
            ("0.0.0.0:8080", "ws://127.0.0.1:8080"),
            ("[::]:8080", "ws://[::1]:8080"),
        ] {
            let local = reached_by(listen, None, None).unwrap();
            assert_eq!(local.endpoint.to_string(), url);
            assert_eq!(local.trust, Trust::PublicAuthorities);
        }
        assert_eq!(reached_by("nowhere", None, None), None);
        let remote = reached_by("0.0.0.0:8080", None, Some("edge-1")).unwrap();
        assert_eq!(remote.endpoint.to_string(), "ws://edge-1:8080");
    }

    #[test]
    fn a_certificate_means_wss_and_only_that_certificate() {
        let digest = "ab".repeat(32);
        let local = reached_by("0.0.0.0:8443", Some(&digest), None).unwrap();
        assert_eq!(local.endpoint.to_string(), "wss://127.0.0.1:8443");
        assert_eq!(local.trust, Trust::Certificate(digest.parse().unwrap()));
        assert_eq!(reached_by("0.0.0.0:8443", Some("ab"), None), None);
    }
}
