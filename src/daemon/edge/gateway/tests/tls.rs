//! Tests of wss with the development certificate.

use std::io::IoSlice;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{handshake, shake};
use super::rig::{PATIENCE, Rig};
use crate::daemon::base::handoff::ViewerLink;
use crate::net::Trust;
use crate::net::websocket::{Opcode, server_frame};

async fn connect(rig: &Rig) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(Trust::AnyCertificate.config());
    let socket = TcpStream::connect(rig.address).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), socket).await.unwrap()
}

#[tokio::test]
async fn a_tls_viewer_is_handed_over_with_its_session() {
    let mut rig = Rig::start_with(|config| config.dev_tls = true).await;
    let request = [handshake("/ws/1", &[]).as_bytes(), b"early"].concat();
    let mut client = shake(connect(&rig).await, &request).await;
    let viewer = rig.viewer().await;
    let ViewerLink::WebSocket { mut transport, early_bytes, .. } = viewer.link else {
        panic!("no WebSocket");
    };
    assert_eq!(early_bytes, b"early");
    client.stream.write_all(b"more").await.unwrap();
    client.stream.flush().await.unwrap();
    let permit = viewer.permit;
    let delivery = tokio::task::spawn_blocking(move || {
        SockRef::from(&*transport.socket()).set_nonblocking(false).unwrap();
        let mut read = [0; 4];
        assert_eq!(transport.read(&mut read).unwrap(), Some(4));
        let frame = server_frame(Opcode::Text, false, b"hello");
        assert_eq!(transport.write(&[IoSlice::new(&frame)]).unwrap(), frame.len());
        drop(permit);
        read
    });
    assert_eq!(client.frame().await, (Opcode::Text, b"hello".to_vec()));
    assert_eq!(&delivery.await.unwrap(), b"more");
}

#[tokio::test]
async fn https_answers_and_refusals_work_over_tls_too() {
    let rig = Rig::start_with(|config| config.dev_tls = true).await;
    let mut stream = connect(&rig).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut refused = shake(connect(&rig).await, handshake("/ws/77", &[]).as_bytes()).await;
    assert_eq!(refused.refusal().await.close, 4504);
}

#[tokio::test]
async fn a_client_without_timely_tls_is_closed() {
    let short = Duration::from_millis(100);
    let rig = Rig::start_with(|config| {
        config.dev_tls = true;
        config.handshake_timeout = short;
    })
    .await;
    for said in ["", "GET / HTTP/1.1\r\n\r\n"] {
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = socket.read_to_end(&mut rest);
        assert!(tokio::time::timeout(PATIENCE, read).await.is_ok(), "{said:?}: still open");
    }
}
