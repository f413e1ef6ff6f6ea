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
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CloseCode, Epoch, ErrorCode, StreamId, StreamPosition};

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
    socket.close(Some(frame)).await.unwrap();
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
        let body = r#"{"error":{"code":"node_full","message":"full","retry_after_ms":1500}}"#;
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
