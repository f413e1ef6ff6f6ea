//! Polls of one session whose viewer the test plays.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::base::pipe::{PipeWriter, pipe};
use crate::daemon::edge::gateway::positions::position;

const WAIT: Duration = Duration::from_secs(30);

struct Rig {
    writer: PipeWriter,
    session: Arc<PollSession>,
    stopping: CancellationToken,
}

impl Rig {
    /// A session that is welcomed at 3:8, with its first answer.
    async fn welcomed() -> Self {
        let (writer, reader) = pipe();
        let session = Arc::new(PollSession::new(SessionId(1), reader));
        let rig = Self { writer, session, stopping: CancellationToken::new() };
        rig.write("id: 3:8\ndata: \"welcome\"\n\n");
        let first = rig.poll(0, Duration::ZERO).await.unwrap();
        assert_eq!((first.since.position, first.since.answer), (position(3, 8), 1));
        rig
    }

    fn write(&self, events: &'static str) {
        self.writer.write([&Bytes::from_static(events.as_bytes())]).unwrap();
    }

    async fn poll(&self, confirmed: u32, wait: Duration) -> Result<PollAnswer, PollFailure> {
        let farewell = Farewell::new(self.stopping.clone(), Duration::ZERO);
        self.session.poll(Poll { confirmed, wait }, &farewell).await
    }

    async fn texts(&self, confirmed: u32) -> String {
        let answer = self.poll(confirmed, WAIT).await.unwrap();
        String::from_utf8(answer.messages).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_together_share_an_answer() {
    let rig = Rig::welcomed().await;
    let began = Instant::now();
    let writing = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        rig.write("data: 1\n\n");
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.write("id: 3:9\ndata: 2\n\n");
    };
    let (answer, ()) = tokio::join!(rig.poll(1, WAIT), writing);
    let answer = answer.unwrap();
    assert_eq!(answer.messages, b"1,2");
    assert_eq!((answer.since.position, answer.since.answer), (position(3, 9), 2));
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn silence_is_answered_with_the_same_since() {
    let rig = Rig::welcomed().await;
    let began = Instant::now();
    let answer = rig.poll(1, WAIT).await.unwrap();
    assert_eq!((answer.messages.len(), answer.since.answer), (0, 1));
    assert_eq!(began.elapsed(), WAIT);
    assert!(!rig.session.is_silent_for(Duration::from_millis(1)), "it has just polled");
}

#[tokio::test(start_paused = true)]
async fn lost_answer_is_repeated() {
    let rig = Rig::welcomed().await;
    rig.write("data: 1\n\n");
    assert_eq!(rig.texts(1).await, "1");
    rig.write("data: 2\n\n");
    assert_eq!(rig.texts(1).await, "1", "the client asks again as it has not received it");
    assert_eq!(rig.texts(2).await, "2");
    assert_eq!(rig.poll(1, WAIT).await, Err(PollFailure::TooOld));
    assert_eq!(rig.poll(u32::MAX, WAIT).await, Err(PollFailure::TooOld));
}

#[tokio::test(start_paused = true)]
async fn newer_poll_ends_the_older_one() {
    let rig = Rig::welcomed().await;
    let newer = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let writing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rig.write("data: 1\n\n");
        };
        tokio::join!(rig.texts(1), writing).0
    };
    let (older, newer) = tokio::join!(rig.poll(1, WAIT), newer);
    assert_eq!((older, newer.as_str()), (Err(PollFailure::Displaced), "1"));
}

#[tokio::test(start_paused = true)]
async fn end_of_the_viewer_ends_the_wait() {
    let Rig { writer, session, stopping } = Rig::welcomed().await;
    let farewell = Farewell::new(stopping, Duration::ZERO);
    let began = Instant::now();
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writer.write([&Bytes::from_static(b"data: \"bye\"\n\n")]).unwrap();
        drop(writer);
    };
    let (answer, ()) =
        tokio::join!(session.poll(Poll { confirmed: 1, wait: WAIT }, &farewell), ending);
    let answer = answer.unwrap();
    assert_eq!((answer.messages.as_slice(), answer.is_last), (&b"\"bye\""[..], true));
    assert_eq!(began.elapsed(), Duration::from_secs(1), "at once");
}

#[tokio::test(start_paused = true)]
async fn stopping_gateway_says_bye() {
    let rig = Rig::welcomed().await;
    rig.write("data: 1\n\n");
    rig.stopping.cancel();
    let answer = rig.poll(1, WAIT).await.unwrap();
    assert!(answer.is_last);
    let text = String::from_utf8(answer.messages).unwrap();
    assert_eq!(text, r#"1,{"type":"bye","code":"shutdown","reconnect_after_ms":0}"#);
}

#[tokio::test(start_paused = true)]
async fn session_without_a_welcome_fails_in_time() {
    let (_writer, reader) = pipe();
    let session = PollSession::new(SessionId(1), reader);
    let farewell = Farewell::new(CancellationToken::new(), Duration::ZERO);
    let answer = session.poll(Poll { confirmed: 0, wait: Duration::ZERO }, &farewell).await;
    assert_eq!(answer, Err(PollFailure::NotWelcomed));
}
