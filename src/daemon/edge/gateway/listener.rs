//! The listening socket, and why it cannot be opened.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::daemon::edge::http::TlsError;

/// Connections the kernel may queue before they are accepted. It caps this at `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("cannot listen on {address}: {cause}{}", hint(.cause))]
    // Not `source`: the text has it already, and printing the chain of causes would repeat it.
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            ". Another program listens there, perhaps another lcd: stop it, or choose another \
             address with --listen or `gateway.listen`"
        }
        ErrorKind::PermissionDenied => {
            ". Ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher one with \
             --listen or `gateway.listen`"
        }
        ErrorKind::AddrNotAvailable => {
            ". No interface of this machine has that address: set `gateway.listen` to one of its \
             own addresses, or to 0.0.0.0 for all"
        }
        _ => "",
    }
}

/// A socket that listens, and its address. The port is the real one where 0 was configured.
#[derive(Debug)]
pub(super) struct BoundListener {
    pub(super) listener: TcpListener,
    pub(super) local_addr: SocketAddr,
}

/// Opens the listening socket.
pub(super) fn listen(address: SocketAddr) -> Result<BoundListener, GatewayError> {
    let open = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for connections of the last run to time out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(BoundListener { local_addr: listener.local_addr()?, listener })
    };
    open().map_err(|cause| GatewayError::Listen { address, cause })
}
