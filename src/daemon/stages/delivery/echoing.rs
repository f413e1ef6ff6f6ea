//! Sends a viewer everything it sends, for tests of the connection layer by other programs.
//!
//! It reads with the workers' `receive` and compresses with their compressors. Only what a message
//! means is left out.

use std::io::{IoSlice, Read as _};
use std::net::TcpStream;
use std::sync::Arc;

use super::deflate::{Compressor, CompressorLimits, compress_always};
use super::worker::receive::{Incoming, Rules, receive};
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::base::handoff::{Deflate, ViewerLink};
use crate::net::Transport;
use crate::net::websocket::{
    FrameReader, Inflater, Opcode, ReadRules, Side, close_frame, server_frame,
};
use crate::protocol::CloseCode;

const READ_BYTES: usize = 64 * 1024;

/// Echoes messages of at most `max_message_bytes` until the viewer has closed. Blocks.
///
/// # Panics
///
/// If the link is no WebSocket without TLS.
pub(crate) fn echo(link: ViewerLink, max_message_bytes: usize) {
    let ViewerLink::WebSocket { transport, early_bytes, deflate, .. } = link else {
        panic!("no WebSocket: {link:?}");
    };
    let Transport::Plain(socket) = transport else { panic!("TLS") };
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false).unwrap();
    let frames =
        ReadRules { sender: Side::Client, max_message_bytes, deflate: deflate != Deflate::Off };
    let mut echo = Echo { socket: Transport::Plain(socket), packer: Packer::new(deflate) };
    echo.serve(&early_bytes, frames);
}

struct Echo {
    socket: Transport<TcpStream>,
    packer: Packer,
}

/// The next step after some messages.
#[derive(PartialEq, Eq)]
enum Next {
    Read,
    End,
}

impl Echo {
    fn serve(&mut self, early_bytes: &[u8], frames: ReadRules) {
        let mut inflater = Inflater::default();
        let mut rules = Rules { frames, inflater: &mut inflater };
        let mut reader = FrameReader::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut chunk = early_bytes.to_vec();
        loop {
            let mut incoming = Vec::new();
            let result = receive(&mut reader, &chunk, &mut rules, &mut incoming);
            for message in incoming {
                if self.answer(message) == Next::End {
                    return self.linger();
                }
            }
            if let Err(error) = result {
                let code = error.code().close_code().unwrap_or(CloseCode::ProtocolError);
                self.write(&close_frame(code.number(), code.as_str()));
                return self.linger();
            }
            match self.socket.socket().read(&mut buffer) {
                Ok(bytes) if bytes > 0 => chunk = buffer[..bytes].to_vec(),
                // The viewer has left without a close frame, as some cases do.
                _ => return,
            }
        }
    }

    fn answer(&mut self, message: Incoming) -> Next {
        match message {
            Incoming::Text(payload) => {
                let frame = self.packer.frame(Opcode::Text, &payload);
                self.write(&frame);
            }
            Incoming::Binary(payload) => {
                let frame = self.packer.frame(Opcode::Binary, &payload);
                self.write(&frame);
            }
            Incoming::Ping(payload) => self.write(&server_frame(Opcode::Pong, false, &payload)),
            Incoming::Pong => {}
            Incoming::Close(code) => {
                let code = code.unwrap_or(CloseCode::Normal.number());
                self.write(&close_frame(code, ""));
                return Next::End;
            }
        }
        Next::Read
    }

    /// A viewer that is gone shows with the next read.
    fn write(&mut self, mut bytes: &[u8]) {
        while let Ok(taken) = self.socket.write(&[IoSlice::new(bytes)])
            && taken > 0
        {
            bytes = &bytes[taken..];
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// Ends its side and reads what the viewer still sends: a socket that is closed with unread
    /// bytes would reset the connection, and the viewer could lose the close frame.
    fn linger(&mut self) {
        self.socket.shutdown_write();
        let mut rest = [0; 1024];
        while self.socket.socket().read(&mut rest).is_ok_and(|bytes| bytes > 0) {}
    }
}

/// Makes frames in the form that was agreed.
enum Packer {
    Plain,
    Single,
    /// With the context of the messages before. `None` after a message that did not fit, as in the
    /// workers, which go on without.
    Shared(Option<Compressor>),
}

impl Packer {
    fn new(deflate: Deflate) -> Self {
        match deflate {
            Deflate::Off | Deflate::ReceiveOnly => Self::Plain,
            Deflate::Single => Self::Single,
            Deflate::Shared => {
                let limits = Arc::new(CompressorLimits::new(&DeliveryConfig::default()));
                Self::Shared(limits.acquire())
            }
        }
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let compressed = match self {
            Self::Plain => None,
            Self::Single => compress_always(payload),
            Self::Shared(kept) => {
                let compressed = kept.as_mut().and_then(|kept| kept.compress_next(payload));
                if compressed.is_none() {
                    *kept = None;
                }
                compressed.or_else(|| compress_always(payload))
            }
        };
        match compressed {
            Some(compressed) => server_frame(opcode, true, &compressed),
            None => server_frame(opcode, false, payload),
        }
    }
}
