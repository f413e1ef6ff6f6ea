//! The server's address for viewers: `ws://host:port`, `wss://host`, or the http form of the same.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use crate::protocol::{StreamId, StreamPosition};

/// A server's address for viewers. A path in the URL comes before `/ws/{stream}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    pub tls: bool,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Empty, or begins with `/` and does not end with it.
    prefix: String,
}

/// A text that is not a viewer URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a viewer URL: {problem}; write ws://host:port or wss://host[:port]")]
pub struct InvalidEndpoint {
    text: String,
    problem: &'static str,
}

impl Endpoint {
    /// Returns an endpoint without TLS and without a path.
    pub fn plain(host: &str, port: u16) -> Self {
        Self { tls: false, host: host.to_owned(), port, prefix: String::new() }
    }

    /// Returns the same endpoint, reached with TLS.
    pub fn with_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// Returns the same server's site below a path, which is empty or begins with `/`.
    pub fn below(self, path: &str) -> Self {
        Self { prefix: path.trim_end_matches('/').to_owned(), ..self }
    }

    /// Returns the URL of a stream's WebSocket, which continues after `resume` if that is given.
    pub fn viewer_url(&self, stream: StreamId, resume: Option<StreamPosition>) -> String {
        format!("{self}/ws/{stream}{}", resume_query(resume))
    }

    /// Returns the URL of a stream's server-sent events, which continue after `resume` if that is
    /// given.
    pub fn events_url(&self, stream: StreamId, resume: Option<StreamPosition>) -> String {
        format!("{}/api/streams/{stream}/events{}", self.http(), resume_query(resume))
    }

    /// Returns the URL of the first long poll of a stream, which continues after `resume` if that
    /// is given.
    pub fn poll_url(&self, stream: StreamId, resume: Option<StreamPosition>) -> String {
        format!("{}/api/streams/{stream}/comments/poll{}", self.http(), resume_query(resume))
    }

    /// Returns the http form of the URL.
    fn http(&self) -> String {
        self.to_string().replacen("ws", "http", 1)
    }
}

/// Returns the query that names a position, or nothing.
fn resume_query(resume: Option<StreamPosition>) -> String {
    resume.map_or_else(String::new, |position| {
        format!("?epoch={}&seq={}", position.epoch, position.seq)
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        let Self { host, port, prefix, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{prefix}")
        } else {
            write!(f, "{scheme}://{host}:{port}{prefix}")
        }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        text.parse()
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let wrong = |problem| InvalidEndpoint { text: text.chars().take(200).collect(), problem };
        let uri: Uri = text.parse().map_err(|_| wrong("it does not parse"))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            Some(_) => return Err(wrong("the scheme is neither ws nor wss")),
            None => return Err(wrong("it has no scheme")),
        };
        if uri.query().is_some() {
            return Err(wrong("it has a query"));
        }
        let host = uri.host().ok_or_else(|| wrong("it has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Epoch;

    #[test]
    fn urls_are_read_and_written() {
        for (text, url) in [
            ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/ws/7"),
            ("ws://localhost:8080/", "ws://localhost:8080/ws/7"),
            ("wss://chat.example", "wss://chat.example:443/ws/7"),
            ("http://[::1]:9000", "ws://[::1]:9000/ws/7"),
            ("https://example.org/chat/", "wss://example.org:443/chat/ws/7"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.viewer_url(StreamId(7), None), url, "{text}");
        }
        let resume = StreamPosition { epoch: Epoch(3), seq: 99 };
        assert_eq!(
            Endpoint::plain("h", 1).viewer_url(StreamId(7), Some(resume)),
            "ws://h:1/ws/7?epoch=3&seq=99"
        );
        let secure: Endpoint = "wss://chat.example/base".parse().unwrap();
        let events = secure.events_url(StreamId(7), Some(resume));
        assert_eq!(events, "https://chat.example:443/base/api/streams/7/events?epoch=3&seq=99");
        let poll = Endpoint::plain("h", 1).poll_url(StreamId(7), None);
        assert_eq!(poll, "http://h:1/api/streams/7/comments/poll");
    }

    #[test]
    fn errors_name_the_expected_form() {
        for text in ["", "localhost:8080", "ftp://host", "ws://", "ws://h/?token=x", "ws:// h"] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("write ws://host:port"), "{error}");
        }
    }
}
