//! Server-sent events and long polls from the viewer's side, without I/O, for callers that hold
//! thousands of connections.
//!
//! In: the parameters of a viewer, then the bytes of the server's answers. Out: requests, and the
//! JSON of one message after the other. Always holds: a message is passed on once and whole. When
//! full: a head or a message beyond its limit is an error.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::http_answer::{AnswerError, AnswerHead, push_token, split_authority};
use super::{ConnectError, MAX_MESSAGE_BYTES};
use crate::client::Endpoint;
use crate::protocol::{StreamId, StreamPosition};

/// The next request of a viewer without a WebSocket.
#[derive(Debug, Clone, Copy)]
pub struct Fallback<'a> {
    pub endpoint: &'a Endpoint,
    pub stream: StreamId,
    pub token: Option<&'a str>,
    /// The position to continue after.
    pub resume: Option<StreamPosition>,
    /// True for long polls, false for server-sent events.
    pub polls: bool,
}

/// The state of a connection after some bytes of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackAnswer {
    /// More will come.
    Open,
    /// A poll is answered: send the next one.
    PollAgain,
    /// The callback wanted no more.
    Stopped,
}

/// Reads the answers of one connection. It has a buffer only while something is incomplete.
#[derive(Debug)]
pub struct FallbackReader {
    /// The start of something of which the rest has not arrived.
    rest: Vec<u8>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Server-sent events; `began` once the head has been read.
    Events { began: bool },
    /// Long polls, with the `since` of the last answer.
    Polls { since: Option<Box<str>> },
}

/// Nothing of an answer is used before its head is whole.
const INCOMPLETE: (usize, FallbackAnswer) = (0, FallbackAnswer::Open);

#[derive(Deserialize)]
struct PollBody<'a> {
    since: Box<str>,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

impl Fallback<'_> {
    /// Returns the URL of the first request.
    pub fn url(&self) -> String {
        let Self { endpoint, stream, resume, .. } = *self;
        if self.polls {
            endpoint.poll_url(stream, resume)
        } else {
            endpoint.events_url(stream, resume)
        }
    }

    /// Returns the request for the events, or the next poll of `reader`, ready to be written.
    ///
    /// # Errors
    /// The token has characters that a header cannot hold.
    pub fn request(&self, reader: &FallbackReader) -> Result<Vec<u8>, ConnectError> {
        let url = match &reader.body {
            // It is of URL-safe characters.
            Body::Polls { since: Some(since) } => {
                format!("{}?since={since}", self.endpoint.poll_url(self.stream, None))
            }
            _ => self.url(),
        };
        let (authority, path) = split_authority(&url);
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(token) = self.token {
            push_token(&mut request, token, &url)?;
        }
        request.push_str("\r\n");
        Ok(request.into_bytes())
    }

    /// Returns a reader for the answers on a new connection.
    pub fn reader(&self) -> FallbackReader {
        let body =
            if self.polls { Body::Polls { since: None } } else { Body::Events { began: false } };
        FallbackReader { rest: Vec::new(), body }
    }
}

impl FallbackReader {
    /// Takes in bytes of the server and passes each whole message on as JSON.
    ///
    /// # Errors
    /// The server refused, or its answer is not what was asked for.
    pub fn read(
        &mut self,
        bytes: &[u8],
        mut on_message: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<FallbackAnswer, AnswerError> {
        if self.rest.is_empty() {
            let (used, answer) = self.consume(bytes, &mut on_message)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(answer);
        }
        let mut waiting = std::mem::take(&mut self.rest);
        waiting.extend_from_slice(bytes);
        let (used, answer) = self.consume(&waiting, &mut on_message)?;
        waiting.drain(..used);
        if waiting.len() > MAX_MESSAGE_BYTES {
            return Err(malformed("a message does not end"));
        }
        if !waiting.is_empty() {
            self.rest = waiting;
        }
        Ok(answer)
    }

    /// Reads what is whole and returns how many bytes that was.
    fn consume(
        &mut self,
        bytes: &[u8],
        on_message: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(usize, FallbackAnswer), AnswerError> {
        match &mut self.body {
            Body::Events { began: true } => Ok(read_events(bytes, 0, on_message)),
            Body::Events { began } => {
                let Some((_, end)) = read_head(bytes)? else { return Ok(INCOMPLETE) };
                *began = true;
                Ok(read_events(bytes, end, on_message))
            }
            Body::Polls { since } => {
                let Some((head, end)) = read_head(bytes)? else { return Ok(INCOMPLETE) };
                let length = head.content_length;
                let length = length.ok_or_else(|| malformed("its answer has no length"))?;
                let Some(body) = bytes[end..].get(..length) else { return Ok(INCOMPLETE) };
                let answer: PollBody<'_> = serde_json::from_slice(body)
                    .map_err(|error| malformed(&format!("its answer: {error}")))?;
                *since = Some(answer.since);
                let mut each = answer.messages.iter();
                let flow = each.try_for_each(|message| on_message(message.get().as_bytes()));
                let next = match flow {
                    ControlFlow::Break(()) => FallbackAnswer::Stopped,
                    ControlFlow::Continue(()) => FallbackAnswer::PollAgain,
                };
                Ok((end + length, next))
            }
        }
    }
}

/// Reads the head of an answer that is not a refusal, and its length.
fn read_head(bytes: &[u8]) -> Result<Option<(AnswerHead<'_>, usize)>, AnswerError> {
    let Some((head, end)) = AnswerHead::read(bytes, false)? else { return Ok(None) };
    if head.status == 200 {
        return Ok(Some((head, end)));
    }
    head.refuse(&bytes[end..], false)?;
    Ok(None)
}

fn malformed(problem: &str) -> AnswerError {
    AnswerError::Malformed(problem.to_owned())
}

/// Reads whole lines. The data of each event is one line; other lines name positions and waits,
/// which the messages themselves tell, or are pings.
fn read_events(
    bytes: &[u8],
    mut used: usize,
    on_message: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> (usize, FallbackAnswer) {
    while let Some(length) = bytes[used..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[used..used + length];
        used += length + 1;
        if let Some(data) = line.strip_prefix(b"data: ")
            && on_message(data).is_break()
        {
            return (used, FallbackAnswer::Stopped);
        }
    }
    (used, FallbackAnswer::Open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, ErrorCode};
    use proptest::prelude::*;

    fn viewer(endpoint: &Endpoint, polls: bool) -> Fallback<'_> {
        let resume = Some(StreamPosition { epoch: Epoch(3), seq: 9 });
        Fallback { endpoint, stream: StreamId(7), token: Some("a.b"), resume, polls }
    }

    /// Returns the messages of an answer that arrives in pieces of the given lengths.
    fn messages(polls: bool, answer: &[u8], pieces: &[usize]) -> (Vec<String>, FallbackReader) {
        let endpoint = Endpoint::plain("h", 1);
        let mut reader = viewer(&endpoint, polls).reader();
        let mut seen = Vec::new();
        let mut rest = answer;
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            rest = later;
            let collect = |message: &[u8]| {
                seen.push(String::from_utf8(message.to_vec()).unwrap());
                ControlFlow::Continue(())
            };
            reader.read(now, collect).unwrap();
        }
        (seen, reader)
    }

    fn events() -> Vec<u8> {
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
          retry: 1500\n\nid: 3:9\ndata: {\"type\":\"welcome\"}\n\n: ping\n\ndata: {\"a\":[1,2]}\n\n"
            .to_vec()
    }

    fn poll_answer(body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    proptest! {
        #[test]
        fn answers_in_any_pieces_are_the_same(pieces in prop::collection::vec(1_usize..40, 0..12)) {
            let (seen, _) = messages(false, &events(), &pieces);
            prop_assert_eq!(seen, [r#"{"type":"welcome"}"#, r#"{"a":[1,2]}"#]);
            let body = r#"{"since":"3-9-x","messages":[{"a":"]"},{"b":2}]}"#;
            let (seen, reader) = messages(true, &poll_answer(body), &pieces);
            prop_assert_eq!(seen, [r#"{"a":"]"}"#, r#"{"b":2}"#]);
            prop_assert!(reader.rest.is_empty() && reader.rest.capacity() == 0);
        }
    }

    #[test]
    fn requests_go_on_from_what_was_read() {
        let endpoint = Endpoint::plain("h", 1);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let poller = viewer(&endpoint, true);
        let first = text(poller.request(&poller.reader()).unwrap());
        assert!(first.starts_with("GET /api/streams/7/comments/poll?epoch=3&seq=9 HTTP/1.1\r\n"));
        assert!(first.contains("\r\nAuthorization: Bearer a.b\r\n"), "{first}");
        let (_, reader) = messages(true, &poll_answer(r#"{"since":"s-1","messages":[]}"#), &[]);
        let next = text(poller.request(&reader).unwrap());
        assert!(next.starts_with("GET /api/streams/7/comments/poll?since=s-1 HTTP/1.1\r\n"));
        let events = viewer(&endpoint, false);
        let request = text(events.request(&events.reader()).unwrap());
        assert!(request.starts_with("GET /api/streams/7/events?epoch=3&seq=9 HTTP/1.1\r\n"));
        let broken = Fallback { token: Some("a\r\nX: y"), ..events };
        assert!(broken.request(&broken.reader()).is_err());
    }

    #[test]
    fn a_refusal_has_its_reason() {
        let endpoint = Endpoint::plain("h", 1);
        let body = r#"{"code":"node_full","detail":"full","retry_after_ms":1500}"#;
        let length = body.len();
        let answer =
            format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {length}\r\n\r\n{body}");
        for polls in [false, true] {
            let mut reader = viewer(&endpoint, polls).reader();
            let (early, late) = answer.as_bytes().split_at(answer.len() - 5);
            let ignore = |_: &[u8]| ControlFlow::Continue(());
            assert_eq!(reader.read(early, ignore).unwrap(), FallbackAnswer::Open);
            let error = reader.read(late, ignore).unwrap_err();
            assert_eq!(error.at(String::new()).kind(), ErrorCode::NodeFull.as_str());
        }
        let mut reader = viewer(&endpoint, true).reader();
        let not_json = poll_answer("<html>");
        let error = reader.read(&not_json, |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.at(String::new()).kind(), "bad_handshake");
    }

    #[test]
    fn a_caller_that_wants_no_more_is_heard() {
        let endpoint = Endpoint::plain("h", 1);
        let mut count = 0;
        let mut reader = viewer(&endpoint, false).reader();
        let answer = reader.read(&events(), |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert_eq!((answer.unwrap(), count), (FallbackAnswer::Stopped, 1));
    }
}
