//! The viewers: one thread, one epoll queue, a few dozen bytes each. Counts what arrives.

mod handshake;
mod socket;

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use live_comments::net::Trust;
use live_comments::net::websocket::{Opcode, parse_header};
use mio::{Events, Interest, Poll, Token, Waker};

use self::handshake::Answer;
use self::socket::Socket;

/// Stands once in every comment of a load, and nowhere else in a payload.
pub(crate) const MARK: u8 = b'#';

/// Handshakes under way at one time.
const MAX_HANDSHAKES: usize = 100;
const READ_BYTES: usize = 64 * 1024;
/// Empty, masked with zeros.
const PONG: &[u8] = &[0x8A, 0x80, 0, 0, 0, 0];
const WAKER: Token = Token(usize::MAX);

/// Connects `viewers` viewers, says so, then answers `mark` (count from zero) and `count`, until
/// its input ends.
pub(crate) fn read(
    address: SocketAddr,
    path: &str,
    viewers: usize,
    tls: bool,
) -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let commands = commands(Arc::new(Waker::new(poll.registry(), WAKER)?));
    let audience = Audience {
        poll,
        request: handshake::request(path, address),
        tls: tls.then(|| Trust::AnyCertificate.config()),
        viewers: Vec::with_capacity(viewers),
        shaking: 0,
        buffer: vec![0; READ_BYTES],
    };
    audience.run(address, viewers, &commands)
}

/// Lines of the input, each with a wake-up; the end of the channel is the end of the input.
fn commands(waker: Arc<Waker>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
            // Fails only if the queue is gone, and then so is the reader.
            let _ = waker.wake();
        }
        drop(sender);
        let _ = waker.wake();
    });
    receiver
}

struct Audience {
    poll: Poll,
    request: Vec<u8>,
    tls: Option<Arc<rustls::ClientConfig>>,
    viewers: Vec<Viewer>,
    shaking: usize,
    buffer: Vec<u8>,
}

struct Viewer {
    socket: Socket,
    /// The answer to the handshake, until it is whole.
    answer: Option<Answer>,
    frames: Frames,
    seen: Seen,
    closed: bool,
}

/// The bytes that arrived since the last `mark`.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    comments: u64,
    frames: u64,
    bytes: u64,
}

impl Audience {
    fn run(
        mut self,
        address: SocketAddr,
        viewers: usize,
        commands: &Receiver<String>,
    ) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut announced = false;
        loop {
            while self.viewers.len() < viewers && self.shaking < MAX_HANDSHAKES {
                self.connect(address)?;
            }
            if !announced && self.viewers.len() == viewers && self.shaking == 0 {
                println!("connected {viewers}");
                announced = true;
            }
            match self.poll.poll(&mut events, Some(Duration::from_secs(1))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            for event in &events {
                if event.token() != WAKER {
                    self.on_event(event.token().0, event.is_writable())?;
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(command) => self.obey(&command)?,
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn connect(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let mut socket = Socket::connect(address, self.tls.as_ref(), &self.request)?;
        let token = Token(self.viewers.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket.tcp(), token, both)?;
        let answer = Some(Answer::default());
        let frames = Frames::default();
        let seen = Seen::default();
        self.viewers.push(Viewer { socket, answer, frames, seen, closed: false });
        self.shaking += 1;
        Ok(())
    }

    fn on_event(&mut self, at: usize, writable: bool) -> anyhow::Result<()> {
        let viewer = &mut self.viewers[at];
        if viewer.closed {
            return Ok(());
        }
        if writable {
            viewer.socket.flush().context("a viewer cannot connect")?;
        }
        loop {
            let bytes = match viewer.socket.read(&mut self.buffer) {
                Ok(None) => return Ok(()),
                Ok(Some(0)) | Err(_) if viewer.answer.is_none() => {
                    viewer.closed = true;
                    return Ok(());
                }
                Ok(Some(bytes)) if bytes > 0 => bytes,
                other => bail!("a handshake ended: {other:?}"),
            };
            let mut rest = &self.buffer[..bytes];
            if let Some(answer) = &mut viewer.answer {
                let Some(end) = answer.take(rest)? else { continue };
                rest = &rest[end..];
                viewer.answer = None;
                self.shaking -= 1;
            }
            viewer.seen.bytes += rest.len() as u64;
            if viewer.frames.take(rest, &mut viewer.seen)? {
                viewer.socket.send(PONG).context("a ping cannot be answered")?;
            }
            if viewer.socket.short_read_means_empty() && bytes < READ_BYTES {
                return Ok(());
            }
        }
    }

    fn obey(&mut self, command: &str) -> anyhow::Result<()> {
        match command {
            "mark" => {
                self.viewers.iter_mut().for_each(|viewer| viewer.seen = Seen::default());
                println!("marked");
            }
            "count" => {
                let sum = |pick: fn(&Seen) -> u64| -> u64 {
                    self.viewers.iter().map(|viewer| pick(&viewer.seen)).sum()
                };
                let closed = self.viewers.iter().filter(|viewer| viewer.closed).count();
                let comments = sum(|seen| seen.comments);
                let frames = sum(|seen| seen.frames);
                println!("{comments} {frames} {} {closed}", sum(|seen| seen.bytes));
            }
            other => bail!("`{other}` is not a command"),
        }
        Ok(())
    }
}

/// The place of a viewer among the frames of its connection.
#[derive(Debug, Default)]
struct Frames {
    /// Payload bytes of the begun frame that are still to come.
    left: u64,
    /// A head that has not arrived whole.
    head: Vec<u8>,
}

impl Frames {
    /// True if there was a ping among them.
    fn take(&mut self, mut bytes: &[u8], seen: &mut Seen) -> anyhow::Result<bool> {
        let mut pinged = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let (payload, rest) = bytes.split_at(bytes.len().min(self.left as usize));
                seen.comments += payload.iter().filter(|byte| **byte == MARK).count() as u64;
                self.left -= payload.len() as u64;
                bytes = rest;
                continue;
            }
            let begun = self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(14)]);
            let Some(header) = parse_header(&self.head)? else { return Ok(pinged) };
            bytes = &bytes[header.header_bytes - begun..];
            self.head.clear();
            self.left = header.payload_bytes;
            pinged |= header.opcode == Opcode::Ping;
            seen.frames += u64::from(!header.opcode.is_control());
        }
        Ok(pinged)
    }
}
