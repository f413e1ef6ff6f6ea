//! The limit: one thread that does nothing but `send()` a ready frame to each socket.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use live_comments::net::websocket::handshake::accept_key;
use live_comments::net::websocket::{Opcode, server_frame};

use crate::rounds::Load;

/// About what one comment is on the wire.
const COMMENT_BYTES: usize = 187;

/// Takes `viewers` viewers, then does what it is told line by line, until its input ends.
pub(crate) fn serve(viewers: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening {}", listener.local_addr()?);
    let mut sockets = Vec::with_capacity(viewers);
    while sockets.len() < viewers {
        let (socket, _) = listener.accept()?;
        sockets.push(shake_hands(socket)?);
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let load = Load::parse(&line?)?;
        fan_out(&mut sockets, load)?;
        println!("done");
    }
    Ok(())
}

fn shake_hands(mut socket: TcpStream) -> anyhow::Result<TcpStream> {
    socket.set_nodelay(true)?;
    let mut key = String::new();
    let mut lines = BufReader::new(&socket).lines();
    loop {
        let line = lines.next().context("a viewer left in its handshake")??;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                value.clone_into(&mut key);
            }
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    drop(lines);
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(&key)
    )?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn fan_out(sockets: &mut [TcpStream], load: Load) -> anyhow::Result<()> {
    let started = Instant::now();
    for at in 0..load.frames() {
        let frame = server_frame(Opcode::Text, false, &payload(load.comments_of(at)));
        let due = Duration::from_secs_f64(at as f64 / load.frames_per_s);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        for socket in &mut *sockets {
            match socket.write(&frame) {
                Ok(sent) if sent == frame.len() => {}
                // A viewer that does not keep up misses the frame; the reading side counts it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) => bail!("a frame was sent in part"),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// A message of some comments: text of the right size, one mark each.
pub(crate) fn payload(comments: usize) -> Vec<u8> {
    let mut comment = [b'.'; COMMENT_BYTES];
    comment[0] = crate::viewers::MARK;
    comment.repeat(comments)
}
