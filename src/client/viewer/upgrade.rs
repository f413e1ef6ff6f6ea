//! The client's opening handshake without I/O (RFC 6455 §4.1).

use super::ConnectError;
use super::http_answer::{AnswerError, AnswerHead, push_token, split_authority};
use crate::client::Endpoint;
use crate::net::websocket::extensions::check_answer;
use crate::net::websocket::handshake::{NONCE_BYTES, accept_key, key};
use crate::protocol::message::Encoding;
use crate::protocol::{StreamId, StreamPosition};

/// One viewer's handshake.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'a> {
    pub endpoint: &'a Endpoint,
    pub stream: StreamId,
    pub encoding: Encoding,
    /// Offers permessage-deflate, and fails if the server does not agree. The server may keep its
    /// context.
    pub deflate: bool,
    pub token: Option<&'a str>,
    /// The position to continue after.
    pub resume: Option<StreamPosition>,
    /// Differs from connection to connection; the response proves that the server read it.
    pub nonce: [u8; NONCE_BYTES],
}

impl Upgrade<'_> {
    /// Returns the request, ready to be written.
    ///
    /// # Errors
    /// The token has characters that a header cannot hold.
    pub fn request(&self) -> Result<Vec<u8>, ConnectError> {
        let url = self.url();
        let (authority, path) = split_authority(&url);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: {}\r\n",
            key(self.nonce),
            self.encoding.subprotocol(),
        );
        if self.deflate {
            request.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        if let Some(token) = self.token {
            push_token(&mut request, token, &url)?;
        }
        request.push_str("\r\n");
        Ok(request.into_bytes())
    }

    /// Reads the response at the start of `bytes`. Returns its length if it opens the connection,
    /// and `None` while bytes are missing; `ended` means that no more will come.
    ///
    /// # Errors
    /// The server refused, or the response is not one to this handshake.
    pub fn read_response(&self, bytes: &[u8], ended: bool) -> Result<Option<usize>, ConnectError> {
        let answer = Self::read_answer(bytes, ended);
        answer.map_err(|error| error.at(self.url()))?.map_or(Ok(None), |(head, end)| {
            self.check(&head)?;
            Ok(Some(end))
        })
    }

    /// Reads the head of an answer that opens the connection.
    fn read_answer(
        bytes: &[u8],
        ended: bool,
    ) -> Result<Option<(AnswerHead<'_>, usize)>, AnswerError> {
        let Some((head, end)) = AnswerHead::read(bytes, ended)? else { return Ok(None) };
        if head.status == 101 {
            return Ok(Some((head, end)));
        }
        head.refuse(&bytes[end..], ended)?;
        Ok(None)
    }

    fn check(&self, head: &AnswerHead<'_>) -> Result<(), ConnectError> {
        if head.accept != Some(accept_key(&key(self.nonce)).as_str()) {
            return Err(self.failed("its Sec-WebSocket-Accept does not match the key"));
        }
        if head.protocol != Some(self.encoding.subprotocol()) {
            return Err(self.failed("it did not agree to the subprotocol"));
        }
        check_answer(self.deflate, head.extensions)
            .map_err(|problem| self.failed(&problem.to_string()))
    }

    /// Returns the URL that the viewer connects to.
    pub fn url(&self) -> String {
        self.endpoint.viewer_url(self.stream, self.resume)
    }

    fn failed(&self, problem: &str) -> ConnectError {
        ConnectError::Handshake { url: self.url(), problem: problem.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, ErrorCode};

    fn upgrade(endpoint: &Endpoint) -> Upgrade<'_> {
        Upgrade {
            endpoint,
            stream: StreamId(7),
            encoding: Encoding::Msgpack,
            deflate: false,
            token: Some("a.b.c"),
            resume: Some(StreamPosition { epoch: Epoch(3), seq: 9 }),
            nonce: *b"the sample nonce",
        }
    }

    #[test]
    fn a_request_holds_every_option() {
        let endpoint: Endpoint = "ws://chat.example:81/base".parse().unwrap();
        let request = String::from_utf8(upgrade(&endpoint).request().unwrap()).unwrap();
        assert!(request.starts_with("GET /base/ws/7?epoch="), "{request}");
        for line in [
            "Host: chat.example:81",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: lc.v1.msgpack",
            "Authorization: Bearer a.b.c",
        ] {
            assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
        }
        assert!(request.ends_with("\r\n\r\n"));
        let broken = Upgrade { token: Some("a\r\nX: y"), ..upgrade(&endpoint) };
        assert!(broken.request().is_err());
    }

    #[test]
    fn a_response_must_be_complete_and_fit() {
        let endpoint = Endpoint::plain("h", 1);
        let upgrade = upgrade(&endpoint);
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Protocol: lc.v1.msgpack\r\n\r\nrest";
        for cut in 0..answer.len() - 4 {
            assert_eq!(upgrade.read_response(&answer[..cut], false).unwrap(), None, "{cut}");
        }
        assert_eq!(upgrade.read_response(answer, false).unwrap(), Some(answer.len() - 4));
        let other = Upgrade { nonce: [0; 16], ..upgrade };
        assert_eq!(other.read_response(answer, false).unwrap_err().kind(), "bad_handshake");
        let json = Upgrade { encoding: Encoding::Json, ..upgrade };
        assert_eq!(json.read_response(answer, false).unwrap_err().kind(), "bad_handshake");
    }

    #[test]
    fn deflate_is_agreed_by_both_or_by_none() {
        let endpoint = Endpoint::plain("h", 1);
        let plain = upgrade(&endpoint);
        let deflate = Upgrade { deflate: true, ..plain };
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
        assert!(String::from_utf8(deflate.request().unwrap()).unwrap().contains(offer));
        let answer = |extensions: &str| {
            format!(
                "HTTP/1.1 101 Switching Protocols\r\n{extensions}\
                 sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                 sec-websocket-protocol: lc.v1.msgpack\r\n\r\n"
            )
        };
        let agreed = "sec-websocket-extensions: permessage-deflate; client_no_context_takeover\r\n";
        for (upgrade, extensions, fine) in [
            (plain, "", true),
            (plain, agreed, false),
            (deflate, agreed, true),
            (deflate, "", false),
            (deflate, "sec-websocket-extensions: x-other\r\n", false),
        ] {
            let read = upgrade.read_response(answer(extensions).as_bytes(), false);
            assert_eq!(read.is_ok(), fine, "{extensions}: {read:?}");
        }
    }

    #[test]
    fn a_refusal_has_its_reason() {
        let endpoint = Endpoint::plain("h", 1);
        let upgrade = upgrade(&endpoint);
        let body = r#"{"code":"node_full","detail":"full","retry_after_ms":1500}"#;
        let length = body.len();
        let answer =
            format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {length}\r\n\r\n{body}");
        let cut = &answer.as_bytes()[..answer.len() - 1];
        assert_eq!(upgrade.read_response(cut, false).unwrap(), None);
        let error = upgrade.read_response(answer.as_bytes(), false).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorCode::NodeFull.as_str(), true));
        let bare = b"HTTP/1.1 404 Not Found\r\n\r\n";
        assert_eq!(upgrade.read_response(bare, false).unwrap(), None);
        assert_eq!(upgrade.read_response(bare, true).unwrap_err().kind(), "http_error");
        for (bytes, ended) in [(&b"SSH-2.0-x\r\n\r\n"[..], false), (b"HTTP/1.1 101", true)] {
            assert_eq!(upgrade.read_response(bytes, ended).unwrap_err().kind(), "bad_handshake");
        }
        let endless = vec![b'x'; (16 << 10) + 1];
        assert!(upgrade.read_response(&endless, false).is_err());
    }
}
