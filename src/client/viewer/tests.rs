//! Connections to small servers made of an independent WebSocket library.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::client::{Endpoint, Trust};
use crate::protocol::message::CommentsBatch;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    CloseCode, CommentId, Epoch, ErrorCode, SequencedComment, StreamId, StreamPosition, UserId,
};

async fn listen() -> (TcpListener, ViewerOptions) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = ViewerOptions::new(Endpoint::plain("127.0.0.1", port), StreamId(7));
    options.connect_timeout = Duration::from_secs(5);
    (listener, options)
}

fn welcome() -> ServerMessage {
    ServerMessage::Welcome {
        stream_id: StreamId(7),
        user: None,
        epoch: Epoch(2),
        seq: 41,
        sample_rate: SampleRate::ALL,
        viewers: 3,
        room: Default::default(),
        reactions: Default::default(),
        state: Default::default(),
        starts_at: None,
        pinned: None,
        poll: None,
    }
}

/// Accepts one viewer, sends these messages and closes with the code. Returns the requested path
/// and the `Authorization` header.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    encoding: Encoding,
    messages: &[ServerMessage],
    code: CloseCode,
) -> (String, String) {
    let mut requested = (String::new(), String::new());
    #[allow(clippy::result_large_err)]
    let callback = |request: &Request, mut response: Response| {
        let headers = request.headers();
        let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        requested = (request.uri().to_string(), token.to_owned());
        let protocol = headers[SEC_WEBSOCKET_PROTOCOL].clone();
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.unwrap();
    for message in messages {
        socket.send(Message::Ping(Default::default())).await.unwrap();
        let payload = encoding.encode(message);
        socket
            .send(match encoding {
                Encoding::Json => Message::text(String::from_utf8(payload).unwrap()),
                Encoding::Msgpack => Message::binary(payload),
            })
            .await
            .unwrap();
    }
    let frame = CloseFrame { code: code.number().into(), reason: code.as_str().into() };
    // A viewer that gave the connection up has left already.
    socket.close(Some(frame)).await.ok();
    // The peer's answer, before which the connection must not be torn down.
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    requested
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.unwrap().0
}

#[tokio::test]
async fn messages_and_the_close_code_arrive_typed() {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let (listener, mut options) = listen().await;
        options.encoding = encoding;
        options.token = Some("abc".into());
        options.resume = Some(StreamPosition { epoch: Epoch(2), seq: 41 });
        let presence = ServerMessage::Presence { viewers: 9 };
        let messages = [welcome(), presence.clone()];
        let server =
            async { serve(accept(&listener).await, encoding, &messages, CloseCode::Kicked).await };
        let viewer = async {
            let (mut connection, welcome) = ViewerConnection::join(&options).await.unwrap();
            assert_eq!((welcome.epoch, welcome.seq, welcome.viewers), (Epoch(2), 41, 3));
            assert_eq!(connection.next().await, Ok(presence));
            let end = connection.next().await.unwrap_err();
            assert_eq!(end.close_code(), Some(CloseCode::Kicked));
            assert!(end.retry() && end.to_string().contains("4003 kicked"), "{end}");
        };
        let ((url, token), ()) = tokio::join!(server, viewer);
        assert_eq!(url, "/ws/7?epoch=2&seq=41");
        assert_eq!(token, "Bearer abc");
    }
}

#[tokio::test]
async fn an_error_instead_of_a_welcome_refuses() {
    let (listener, options) = listen().await;
    let error = ServerMessage::Error {
        code: ErrorCode::Banned,
        message: "for spam".into(),
        retry_after_ms: None,
        client_ref: None,
    };
    let server =
        async { serve(accept(&listener).await, Encoding::Json, &[error], CloseCode::Banned).await };
    let (_, joined) = tokio::join!(server, ViewerConnection::join(&options));
    let error = joined.unwrap_err();
    assert_eq!((error.kind(), error.retry()), ("banned", false));
    assert!(error.to_string().contains("for spam"), "{error}");
}

#[tokio::test]
async fn a_refusal_over_http_has_code_and_wait() {
    let (listener, options) = listen().await;
    let server = async {
        let mut stream = accept(&listener).await;
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let body = r#"{"code":"node_full","detail":"full","retry_after_ms":1500}"#;
        let head = format!("HTTP/1.1 503 Full\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    };
    let ((), opened) = tokio::join!(server, ViewerConnection::open(&options));
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), "node_full");
    let wait = Reconnect::default().after_failure(&error);
    assert_eq!(wait, Some(Duration::from_millis(1500)));
}

#[tokio::test]
async fn a_broken_connection_has_no_close_code() {
    let (listener, options) = listen().await;
    let server = async {
        let stream = accept(&listener).await;
        let abandoned = async {
            // The close frame is never sent: the stream is dropped inside.
            let socket = tokio_tungstenite::accept_hdr_async(
                stream,
                #[allow(clippy::result_large_err)]
                |request: &Request, mut response: Response| {
                    let protocol = request.headers()[SEC_WEBSOCKET_PROTOCOL].clone();
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
                    Ok(response)
                },
            );
            drop(socket.await.unwrap());
        };
        abandoned.await;
    };
    let ((), joined) = tokio::join!(server, ViewerConnection::join(&options));
    let error = joined.unwrap_err();
    assert_eq!((error.kind(), error.retry()), ("broken", true));
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let (listener, mut options) = listen().await;
    options.connect_timeout = Duration::from_millis(50);
    let server = async {
        let stream = accept(&listener).await;
        std::future::pending::<()>().await;
        drop(stream);
    };
    let error = tokio::select! {
        () = server => unreachable!("the server waits for ever"),
        opened = ViewerConnection::open(&options) => opened.unwrap_err(),
    };
    assert_eq!((error.kind(), error.retry()), ("handshake_timeout", true));
}

#[tokio::test]
async fn self_signed_certificates_need_a_request() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    for trust in [Trust::PublicAuthorities, Trust::AnyCertificate] {
        let (listener, mut options) = listen().await;
        options.endpoint.tls = true;
        options.trust = trust;
        let server = async {
            if let Ok(stream) = acceptor.accept(accept(&listener).await).await {
                serve(stream, Encoding::Json, &[welcome()], CloseCode::Normal).await;
            }
        };
        let viewer = async { ViewerConnection::join(&options).await.map(|(_, welcome)| welcome) };
        let ((), joined) = tokio::join!(server, viewer);
        match trust {
            Trust::AnyCertificate => assert_eq!(joined.unwrap().seq, 41),
            Trust::PublicAuthorities | Trust::Certificate(_) => {
                let error = joined.unwrap_err().to_string();
                assert!(error.contains("certificate"), "{error}");
            }
        }
    }
}

/// Returns a batch of comments, each with the number of its id and its number in the stream.
fn batch(from_seq: u64, to_seq: u64, comments: &[(u64, u64)]) -> CommentsBatch {
    let comment = |&(id, seq): &(u64, u64)| SequencedComment {
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + id, 1, [3; 6]),
        user_id: UserId(1),
        name: "ann".into(),
        message: "hi".into(),
        created_at: 1,
        seq,
        badges: Default::default(),
        parent_id: None,
    };
    CommentsBatch {
        epoch: Epoch(2),
        from_seq,
        to_seq,
        sample_rate: SampleRate::ALL,
        comments: comments.iter().map(comment).collect(),
        echo: false,
    }
}

/// Serves these messages on one connection after another.
async fn serve_each(listener: &TcpListener, connections: &[Vec<ServerMessage>]) {
    for messages in connections {
        serve(accept(listener).await, Encoding::Json, messages, CloseCode::Kicked).await;
    }
}

/// Returns the numbers of the comments that a follower gives out until it has lost so many
/// connections, and why they were lost.
async fn followed(options: ViewerOptions, losses: usize) -> (Vec<u64>, Vec<String>) {
    let mut follower = StreamFollower::new(options);
    let mut seqs = Vec::new();
    let mut lost = Vec::new();
    while lost.len() < losses {
        match follower.next().await.unwrap() {
            FollowerEvent::Comment(comment) => seqs.push(comment.seq),
            FollowerEvent::Lost { why, retry_in } => {
                assert!(retry_in >= Duration::from_millis(100), "{retry_in:?}");
                lost.push(why);
            }
            FollowerEvent::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (seqs, lost)
}

#[tokio::test]
async fn an_own_comment_that_came_early_comes_once() {
    let (listener, options) = listen().await;
    let echo = ServerMessage::Comments(CommentsBatch { echo: true, ..batch(43, 43, &[(3, 43)]) });
    let mut newer = welcome();
    if let ServerMessage::Welcome { epoch, seq, .. } = &mut newer {
        *epoch = Epoch(3);
        *seq = 10;
    }
    let connections = [
        vec![welcome(), echo.clone(), echo],
        vec![welcome(), ServerMessage::Comments(batch(42, 44, &[(2, 42), (3, 43), (4, 44)]))],
        vec![newer, ServerMessage::Comments(batch(11, 12, &[(3, 11), (5, 12)]))],
    ];
    let (_, (seqs, _)) = tokio::join!(serve_each(&listener, &connections), followed(options, 3));
    assert_eq!(seqs, [43, 42, 44, 12]);
}

#[tokio::test]
async fn a_missing_range_is_told_and_waited_after() {
    let (listener, options) = listen().await;
    let connections = [
        vec![welcome(), ServerMessage::Comments(batch(45, 45, &[(5, 45)]))],
        vec![welcome(), ServerMessage::Comments(batch(42, 45, &[(2, 42), (5, 45)]))],
    ];
    let (_, (seqs, lost)) = tokio::join!(serve_each(&listener, &connections), followed(options, 2));
    assert_eq!(seqs, [42, 45]);
    assert!(lost[0].contains("42 to 44 are missing"), "{}", lost[0]);
}

#[tokio::test]
async fn a_ref_that_waits_no_longer_is_not_stored_again() {
    let (listener, options) = listen().await;
    let comment_id = batch(1, 1, &[(1, 1)]).comments[0].comment_id;
    let ack = ServerMessage::Ack { client_ref: Some("sent twice".into()), comment_id, seq: 42 };
    let comments = ServerMessage::Comments(batch(42, 42, &[(1, 42)]));
    let connections = [vec![welcome(), ack, comments]];
    let (_, (seqs, _)) = tokio::join!(serve_each(&listener, &connections), followed(options, 1));
    assert_eq!(seqs, [42], "`followed` accepts no other event");
}

#[tokio::test]
async fn a_cancelled_call_continues_to_connect() {
    let (listener, options) = listen().await;
    let server = async {
        let stream = accept(&listener).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        serve(stream, Encoding::Json, &[welcome()], CloseCode::Kicked).await;
        tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_ok()
    };
    let viewer = async {
        let mut follower = StreamFollower::new(options);
        loop {
            let event = tokio::time::timeout(Duration::from_millis(10), follower.next()).await;
            match event {
                Err(_) => {}
                Ok(event) => break (event.unwrap(), follower.next().await.unwrap()),
            }
        }
    };
    let (has_second, (first, then)) = tokio::join!(server, viewer);
    assert!(!has_second, "each cancelled call began again");
    assert!(matches!(first, FollowerEvent::Connected(_)), "{first:?}");
    assert!(matches!(then, FollowerEvent::Lost { .. }), "{then:?}");
}

#[test]
fn kinds_of_later_versions_are_ignored() {
    let later = rmp_serde::to_vec(&(99, "more")).unwrap();
    for (encoding, payload) in [
        (Encoding::Json, &br#"{"type":"fireworks","colour":"red"}"#[..]),
        (Encoding::Msgpack, &later[..]),
    ] {
        assert_eq!(decode(encoding, payload), Ok(None));
    }
    let presence = br#"{"type":"presence","viewers":9,"colour":"red"}"#;
    let told = decode(Encoding::Json, presence);
    assert_eq!(told, Ok(Some(ServerMessage::Presence { viewers: 9 })));
    for bad in [
        &br#"{"type":"presence"}"#[..],
        br#"{"type":7}"#,
        br#"{"type":"stream","state":"paused","title":"x"}"#,
        b"{",
    ] {
        let told = decode(Encoding::Json, bad);
        assert!(matches!(told, Err(ViewerError::BadMessage(_))), "{told:?}");
    }
    assert!(decode(Encoding::Msgpack, b"\x92\x07").is_err());
}
