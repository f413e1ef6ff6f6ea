//! The endpoint of the local daemon, for commands that connect as viewers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::client::Endpoint;
use crate::client::admin::AdminClient;
use crate::protocol::admin::Status;

/// Asks the daemon on the admin socket where it listens. Without a daemon, returns
/// `ws://127.0.0.1:8080`.
pub(super) async fn default_endpoint(socket: &Path) -> Endpoint {
    let status = AdminClient::new(socket.to_owned()).get::<Status>("/v1/status").await;
    status
        .ok()
        .and_then(|status| reachable(&status.listen))
        .unwrap_or_else(|| Endpoint::plain("127.0.0.1", 8080))
}

/// Parses an address or a URL. An address of all interfaces is reached by loopback.
fn reachable(listen: &str) -> Option<Endpoint> {
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return listen.parse().ok();
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(Endpoint::plain(&ip.to_string(), address.port()))
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
            ("wss://chat.example:8443", "wss://chat.example:8443"),
        ] {
            assert_eq!(reachable(listen).unwrap().to_string(), url);
        }
        assert_eq!(reachable("nowhere"), None);
    }
}
