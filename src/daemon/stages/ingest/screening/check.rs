//! One comment: how it gets into the log, its check, and what becomes of it if the check is late.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use super::LookUp;
use crate::daemon::base::handoff::{HOLD_TIME, Held, Screen, Screened, Screening};
use crate::daemon::base::metrics::{Metrics, count};
use crate::daemon::stages::ingest::reserve::RefReservation;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::{CommentModerated, Evidence};
use crate::protocol::room::{UNCHECKED, WhenDown, WhenLate};
use crate::protocol::stream::{ModerationMode, Stream};
use crate::protocol::{Comment, ErrorCode, Role};

/// One part in so many of a deadline is left for the answer, so that a check that runs out of time
/// can still tell what it has found.
const ANSWER_SHARE: u32 = 10;

/// The way of a comment into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// At once. `screened`: moderation need not check it afterwards.
    Direct { screened: bool },
    /// After a check, which may take this long.
    Check { deadline: Duration, late: WhenLate },
    /// Through the review queue, because moderation is down.
    Hold,
}

/// Returns the way of a comment of a stream.
pub(crate) fn route(stream: &Stream, is_staff: bool, is_moderation_down: bool) -> Route {
    if is_staff {
        return Route::Direct { screened: true };
    }
    let checks = stream.room.checks;
    let is_held = is_moderation_down && checks.down == WhenDown::Hold;
    match stream.moderation {
        ModerationMode::Off => Route::Direct { screened: false },
        ModerationMode::Async if is_held => Route::Hold,
        ModerationMode::Async => Route::Direct { screened: false },
        ModerationMode::Sync => {
            // A comment that passes late is left to moderation, which is down.
            let late = match checks.late {
                WhenLate::Pass if is_held => WhenLate::Hold,
                late => late,
            };
            Route::Check { deadline: Duration::from_millis(checks.deadline_in_force_ms()), late }
        }
    }
}

/// The route of a comment, what its check needs besides, and its `ref`.
#[derive(Debug)]
pub(super) struct CheckWay {
    pub(super) route: Route,
    /// The sender's role.
    pub(super) role: Role,
    /// The check waits for it.
    pub(super) look_up: LookUp,
    pub(super) reservation: Option<RefReservation>,
}

/// The outcome for a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScreenOutcome {
    /// It is appended. `shadow`: only its sender sees it. `screened`: it was checked.
    Publish { shadow: bool, screened: bool },
    /// It waits in the review queue; the error tells its sender.
    Held(ErrorBody),
    /// The store of the review queue did not answer, so it may be held or not. If it is sent again
    /// with its `ref`, it is held under the same id, which the store keeps once.
    Unsettled(ErrorBody),
    /// It is refused, and takes nothing of its room.
    Refuse(ErrorBody),
}

/// The end of a check.
#[derive(Debug)]
pub(super) struct CheckEnd {
    pub(super) outcome: ScreenOutcome,
    /// A decision other than accept, to be recorded.
    pub(super) decided: Option<CommentModerated>,
    /// Whether points of its user are to be stored.
    pub(super) has_points: bool,
    /// The fallback of the room, if the check was late.
    pub(super) late: Option<WhenLate>,
}

impl From<ScreenOutcome> for CheckEnd {
    fn from(outcome: ScreenOutcome) -> Self {
        Self { outcome, decided: None, has_points: false, late: None }
    }
}

/// Checks a comment on `threads`, or holds it, as its route says.
pub(super) async fn run(
    screen: Arc<dyn Screen>,
    threads: Handle,
    comment: Arc<Comment>,
    way: CheckWay,
    metrics: Metrics,
) -> CheckEnd {
    let CheckWay { route, role, look_up, reservation } = way;
    let holder = Holder { screen: screen.clone(), reservation };
    let (deadline, late) = match route {
        Route::Direct { screened } => {
            return ScreenOutcome::Publish { shadow: false, screened }.into();
        }
        Route::Hold => return holder.hold_unchecked(comment).await.into(),
        Route::Check { deadline, late } => (deadline, late),
    };
    let subject = comment.clone();
    let answer_by = Instant::now() + deadline.saturating_sub(deadline / ANSWER_SHARE);
    let check = threads.spawn(async move {
        // A user that is not looked up by then is judged by what is known.
        let _ = timeout(deadline / 2, look_up).await;
        screen.screen(&subject, role, answer_by).await
    });
    // A check that is late is of no use any more.
    let check = AbortOnDropHandle::new(check);
    match timeout(deadline, check).await {
        Ok(Ok(Ok(Some(screened)))) => conclude(&holder, comment, screened).await,
        Ok(Ok(Err(error))) => ScreenOutcome::Refuse(error).into(),
        Ok(Err(failure)) => {
            // The message of a panic may quote the comment.
            let panicked = failure.is_panic();
            error!(panicked, comment_id = %comment.comment_id, "the check of a comment failed");
            unchecked(&holder, comment, late, &metrics).await
        }
        Ok(Ok(Ok(None))) | Err(_) => unchecked(&holder, comment, late, &metrics).await,
    }
}

/// Carries out the decision on a comment.
async fn conclude(holder: &Holder, comment: Arc<Comment>, screened: Screened) -> CheckEnd {
    let Screened { screening, decided, has_points } = screened;
    let outcome = match screening {
        Screening::Accept => ScreenOutcome::Publish { shadow: false, screened: true },
        Screening::Shadow(_) => ScreenOutcome::Publish { shadow: true, screened: true },
        Screening::Reject(reason) => {
            let text = format!("the comment was refused: {reason}");
            ScreenOutcome::Refuse(ErrorBody::new(ErrorCode::ModerationRejected, text))
        }
        Screening::Hold(held) => {
            let text = "a moderator looks at the comment before it is shown";
            holder.hold(comment, held, text).await
        }
    };
    CheckEnd { outcome, decided, has_points, late: None }
}

/// Does what the room says about a comment that was not checked in time.
async fn unchecked(
    holder: &Holder,
    comment: Arc<Comment>,
    late: WhenLate,
    metrics: &Metrics,
) -> CheckEnd {
    count(&metrics.moderation_late, late.as_str());
    let outcome = match late {
        WhenLate::Pass => ScreenOutcome::Publish { shadow: false, screened: false },
        WhenLate::Hold => holder.hold_unchecked(comment).await,
        WhenLate::Refuse => {
            let text = "the comment was not checked in time; nothing was stored";
            ScreenOutcome::Refuse(ErrorBody::new(ErrorCode::ModerationLate, text))
        }
    };
    CheckEnd { outcome, decided: None, has_points: false, late: Some(late) }
}

/// Puts a comment into the review queue.
#[derive(Debug)]
struct Holder {
    screen: Arc<dyn Screen>,
    reservation: Option<RefReservation>,
}

impl Holder {
    async fn hold_unchecked(&self, comment: Arc<Comment>) -> ScreenOutcome {
        let held = Held { reason: UNCHECKED.into(), evidence: Evidence::default() };
        self.hold(comment, held, "the comment is checked before it is shown").await
    }

    async fn hold(&self, comment: Arc<Comment>, held: Held, text: &str) -> ScreenOutcome {
        let holding = async {
            let comment = match &self.reservation {
                Some(reservation) => reservation.under_first_id(comment).await,
                None => comment,
            };
            self.screen.hold(comment, held).await
        };
        match timeout(HOLD_TIME, holding).await {
            Ok(Ok(())) => ScreenOutcome::Held(ErrorBody::new(ErrorCode::HeldForReview, text)),
            // The store may have taken it, and lost its answer.
            Ok(Err(error)) if error.code == ErrorCode::StoreUnavailable => {
                ScreenOutcome::Unsettled(error)
            }
            Ok(Err(error)) => ScreenOutcome::Refuse(error),
            Err(_) => {
                let text = "the store of the review queue does not answer";
                ScreenOutcome::Unsettled(ErrorBody::new(ErrorCode::StoreUnavailable, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::StreamId;
    use crate::protocol::stream::NewStream;

    fn stream(moderation: ModerationMode, late: WhenLate, down: WhenDown) -> Stream {
        let new = NewStream { moderation, ..NewStream::default() };
        let mut stream = new.begin(StreamId(1), 0);
        stream.room.checks.late = late;
        stream.room.checks.down = down;
        stream
    }

    #[test]
    fn the_mode_and_the_room_set_the_way() {
        use ModerationMode::{Async, Off, Sync};
        let checked = |late| Route::Check { deadline: Duration::from_millis(500), late };
        let direct = Route::Direct { screened: false };
        for (mode, late, down, is_down, expected) in [
            (Off, WhenLate::Hold, WhenDown::Hold, true, direct),
            (Async, WhenLate::Hold, WhenDown::Pass, true, direct),
            (Async, WhenLate::Pass, WhenDown::Hold, false, direct),
            (Async, WhenLate::Pass, WhenDown::Hold, true, Route::Hold),
            (Sync, WhenLate::Pass, WhenDown::Pass, true, checked(WhenLate::Pass)),
            (Sync, WhenLate::Pass, WhenDown::Hold, true, checked(WhenLate::Hold)),
            (Sync, WhenLate::Refuse, WhenDown::Hold, true, checked(WhenLate::Refuse)),
        ] {
            let stream = stream(mode, late, down);
            assert_eq!(route(&stream, false, is_down), expected, "{mode:?} {late:?} {down:?}");
            assert_eq!(route(&stream, true, is_down), Route::Direct { screened: true });
        }
    }
}
