//! `lc replay FILE --what-if SETTINGS`: what viewers would see of recorded chat under other
//! settings. No daemon is asked: the comments pass the same policies that it applies
//! ([`crate::policy`]), on a computed clock.
//!
//! In: a selection of recordings, the rules of a daemon ([`rules`]), and the settings to try
//! ([`settings`]). Out: a table by minute. Always holds: the result depends on the files and the
//! settings only. It agrees with a live replay up to what is random there: which comments a sample
//! has, and when in a tick of the throttle a rate changes. As in a daemon that sees the stream for
//! the first time, the clocks of the policies begin with the first comment.

mod rules;
mod settings;
mod table;
mod wire;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::overlay::{Overlay, Overview, PlayedComment, Selection};
use crate::loadgen::recording::RecordingError;
use crate::policy::THROTTLE_TICK;
use crate::policy::comment_limits::{CommentLimits, RoleLimits};
use crate::policy::egress::{
    EgressPolicy, EgressRules, MeterReading, SocketLoad, StreamLoad, StreamPace,
};
use crate::policy::rate::RateEstimator;
use crate::policy::throttle::ThrottlePolicy;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{Identity, Role};

pub(super) use rules::BaseRules;
pub use settings::WhatIf;
pub(super) use table::format_report;

use rules::RulesOrigin;
use settings::{CompleteSettings, UsedSetting};
use wire::{ShownComment, Wire};

/// A level that is left and entered again within this time has flapped.
const FLAP_MS: u64 = 30_000;
const MINUTE_MS: u64 = 60_000;
const TICK_MS: f64 = THROTTLE_TICK.as_millis() as f64;
/// After a silence of so long, and as much as the throttle waits before each step down, nothing
/// changes until the next comment.
const SETTLED_MS: f64 = 600_000.0;
/// Later times count as this: three hundred years.
const MAX_MS: f64 = 1e13;

/// The answer to `--what-if`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct WhatIfReport {
    pub(super) comments: u64,
    pub(super) viewers: u64,
    /// As recorded; without recorded changes of the throttle, as a daemon with the rules shows it
    /// that `now_by` names.
    pub(super) now: Totals,
    pub(super) now_is_recorded: bool,
    pub(super) now_by: RulesOrigin,
    pub(super) would_be: Totals,
    /// All settings of `would_be`.
    pub(super) settings: Vec<UsedSetting>,
    pub(super) minutes: Vec<MinuteRow>,
    pub(super) changes: Vec<LevelChange>,
    /// Levels left and entered again within 30 s.
    pub(super) flaps: u64,
}

/// Sums over the selection.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Totals {
    pub(super) shown: u64,
    /// Left out by the throttle.
    pub(super) sampled_out: u64,
    /// Left out by the egress limit.
    pub(super) egress_sampled_out: u64,
    /// Refused because their user sends too many.
    pub(super) refused: u64,
    /// The largest number of comments shown in one second.
    pub(super) most_per_second: u64,
    /// Bytes that one viewer is sent.
    pub(super) bytes_per_viewer: u64,
}

/// One minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct MinuteRow {
    /// Counted from the start of the recording.
    pub(super) minute: u64,
    /// Seconds of the minute that are recorded, from 1 to 60. Rates of the minute are over them.
    pub(super) seconds: f64,
    pub(super) in_per_second: f64,
    pub(super) now: MinuteSide,
    pub(super) would_be: MinuteSide,
}

/// The comments shown in one minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct MinuteSide {
    pub(super) shown: u64,
    pub(super) left_out: u64,
    /// To one viewer.
    pub(super) bytes: u64,
}

/// A change of the throttle's level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LevelChange {
    pub(super) at_ms: u64,
    pub(super) from: u8,
    pub(super) to: u8,
}

impl MinuteSide {
    /// Returns the part that is shown, from 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.shown as f64 / (self.shown + self.left_out).max(1) as f64
    }
}

/// The load of a calculation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    /// The speed at which the comments come.
    pub(super) times: f64,
    pub(super) viewers: u64,
}

/// Computes the table: `what_if` in place of the rules of `base`.
///
/// # Errors
/// A recording cannot be read.
pub(super) fn compute(
    what_if: &WhatIf,
    base: &BaseRules,
    selection: Selection,
    overview: &Overview,
    load: Load,
) -> Result<WhatIfReport, RecordingError> {
    let Load { times, viewers } = load;
    // A recording with the rules of its daemon has all changes of the throttle, even if there are
    // none. At another speed they are those of another load.
    let has_throttle = !overview.throttle.is_empty() || overview.rules.is_some();
    let recorded = (times == 1.0 && selection.files.len() == 1 && has_throttle)
        .then(|| overview.throttle.iter().map(|change| (change.ts_ms, change.sample_rate)));
    let now_is_recorded = recorded.is_some();
    let from_ms = to_load_ms(selection.from_ms, times);
    let mut overlay = Overlay::open(selection)?;
    let start_ms = to_load_ms(overlay.peek_ms()?.unwrap_or_default(), times);
    let mut settings = WhatIf::default().on(base);
    if now_is_recorded {
        // The shares that viewers saw are recorded: no limit comes on top of them.
        settings.egress = 0;
    }
    let now = Side::new(settings, viewers, start_ms);
    let now = Side { recorded: recorded.map(|changes| changes.rev().collect()), ..now };
    let mut sides = [now, Side::new(what_if.on(base), viewers, start_ms)];
    let mut minutes: Vec<MinuteRow> = Vec::new();
    let mut comments = 0;
    while let Some(played) = overlay.next_comment()? {
        comments += 1;
        let at_ms = to_load_ms(played.at_ms, times);
        let minute = at_ms as u64 / MINUTE_MS;
        sides.iter_mut().for_each(|side| side.advance(at_ms));
        if minutes.last().is_none_or(|last| last.minute != minute) {
            end_minute(&mut minutes, &mut sides);
            minutes.push(MinuteRow {
                minute,
                seconds: 60.0,
                in_per_second: 0.0,
                now: MinuteSide::default(),
                would_be: MinuteSide::default(),
            });
        }
        sides.iter_mut().for_each(|side| side.add(at_ms, &played));
    }
    sides.iter_mut().for_each(Side::finish);
    end_minute(&mut minutes, &mut sides);
    let [now, would_be] = sides;
    let to_ms = to_load_ms(overview.last_ms, times).max(now.last_ms);
    for row in &mut minutes {
        row.seconds = recorded_seconds(row.minute, from_ms, to_ms);
        row.in_per_second = (row.now.shown + row.now.left_out) as f64 / row.seconds;
    }
    let flaps = would_be.flaps();
    Ok(WhatIfReport {
        comments,
        viewers,
        now: now.totals,
        now_is_recorded,
        now_by: base.origin.clone(),
        would_be: would_be.totals,
        settings: what_if.used(base),
        minutes,
        changes: would_be.changes,
        flaps,
    })
}

/// Returns the time at which a comment comes at a speed.
fn to_load_ms(at_ms: u64, times: f64) -> f64 {
    (at_ms as f64 / times).min(MAX_MS)
}

/// Returns how much of a minute lies between two times. Less than a second counts as one: a rate
/// over less says nothing.
fn recorded_seconds(minute: u64, from_ms: f64, to_ms: f64) -> f64 {
    let begin_ms = (minute * MINUTE_MS) as f64;
    let end_ms = to_ms.min(begin_ms + MINUTE_MS as f64);
    ((end_ms - from_ms.max(begin_ms)) / 1e3).max(1.0)
}

/// Moves the sums of the minute that ends into its row.
fn end_minute(minutes: &mut [MinuteRow], sides: &mut [Side; 2]) {
    let [now, would_be] = sides.each_mut().map(|side| std::mem::take(&mut side.minute));
    if let Some(row) = minutes.last_mut() {
        row.now = now;
        row.would_be = would_be;
    }
}

/// One stream under one set of settings.
#[derive(Debug)]
struct Side {
    settings: CompleteSettings,
    viewers_per_node: u64,
    start: Instant,
    /// The time of the first comment, which is at `start`.
    start_ms: f64,
    /// Ends of throttle ticks passed so far. A tick begins half a tick before the first comment,
    /// because in a daemon it begins at any time.
    ticks: u64,
    /// Time of the last comment.
    last_ms: f64,
    rate: RateEstimator,
    policy: ThrottlePolicy,
    /// The rate at which comments are shown. It follows the policy at each tick.
    sample_rate: SampleRate,
    /// Recorded changes that are still to come, the next one last. They replace the policy, and
    /// come exactly at their times.
    recorded: Option<Vec<(u64, SampleRate)>>,
    limits: CommentLimits,
    egress: EgressPolicy,
    pace: StreamPace,
    /// The load that the node has sent of the stream since the last tick.
    load: StreamLoad,
    wire: Wire,
    /// Parts of comments that are carried to the next one.
    throttle_carry: f64,
    egress_carry: f64,
    /// Comments shown in the current second.
    second: (u64, u64),
    minute: MinuteSide,
    totals: Totals,
    changes: Vec<LevelChange>,
}

impl Side {
    fn new(settings: CompleteSettings, viewers: u64, start_ms: f64) -> Self {
        let start = Instant::now();
        let mut policy = ThrottlePolicy::new();
        policy.fix(settings.fixed);
        let limits = RoleLimits { viewer: settings.comments_per_minute, ..RoleLimits::default() };
        Self {
            viewers_per_node: viewers.div_ceil(settings.nodes),
            start,
            start_ms,
            ticks: 0,
            last_ms: start_ms,
            rate: RateEstimator::new(start),
            sample_rate: policy.sample_rate(&settings.throttle),
            policy,
            recorded: None,
            limits: CommentLimits::new(limits, start),
            egress: EgressPolicy::new(EgressRules {
                bytes_per_second: settings.egress,
                held_up: 0.0,
            }),
            pace: StreamPace::default(),
            load: StreamLoad::default(),
            wire: Wire::new(),
            throttle_carry: 0.5,
            egress_carry: 0.5,
            second: (0, 0),
            minute: MinuteSide::default(),
            totals: Totals::default(),
            changes: Vec::new(),
            settings,
        }
    }

    fn instant(&self, at_ms: f64) -> Instant {
        self.start + Duration::from_secs_f64((at_ms - self.start_ms).max(0.0) / 1e3)
    }

    /// Evaluates the policies at each tick up to a time. Of a long silence only the first part is
    /// computed, so that a recording with a gap of years takes no longer than one without.
    fn advance(&mut self, at_ms: f64) {
        let rules = &self.settings.throttle;
        let steps_ms = rules.step_down_after.as_secs_f64() * 1e3 * rules.levels.len() as f64;
        let settled_ms = self.last_ms + SETTLED_MS + steps_ms;
        loop {
            let mut due_ms = self.tick_end_ms();
            if due_ms > at_ms {
                return;
            }
            if due_ms > settled_ms {
                // The last tick up to that time.
                let last = (at_ms - self.start_ms) / TICK_MS - 0.5;
                self.ticks = self.ticks.max(last as u64);
                due_ms = self.tick_end_ms();
            }
            self.ticks += 1;
            let bytes = self.wire.advance(due_ms);
            self.count_bytes(bytes);
            self.tick(due_ms);
        }
    }

    fn tick_end_ms(&self) -> f64 {
        self.start_ms + (self.ticks as f64 + 0.5) * TICK_MS
    }

    fn tick(&mut self, at_ms: f64) {
        let now = self.instant(at_ms);
        if self.recorded.is_none() {
            let before = self.policy.level();
            let per_second = self.rate.per_second(now);
            self.policy.observe(per_second, now, &self.settings.throttle);
            self.sample_rate = self.policy.sample_rate(&self.settings.throttle);
            let level = self.policy.level();
            if level != before && self.policy.fixed().is_none() {
                self.changes.push(LevelChange { at_ms: at_ms as u64, from: before, to: level });
            }
        }
        self.pace.record(std::mem::take(&mut self.load), THROTTLE_TICK);
        let sockets = SocketLoad { visits: MeterReading::default(), held_up: 0 };
        self.egress.adjust(&mut [&mut self.pace], sockets, THROTTLE_TICK);
        if self.ticks.is_multiple_of(240) {
            self.limits.forget_idle(now);
        }
    }

    fn add(&mut self, at_ms: f64, played: &PlayedComment) {
        self.last_ms = at_ms;
        if let Some(recorded) = &mut self.recorded {
            while let Some((_, rate)) = recorded.pop_if(|(ts_ms, _)| *ts_ms as f64 <= at_ms) {
                self.sample_rate = rate;
            }
        }
        let now = self.instant(at_ms);
        let identity = Identity {
            user_id: played.user,
            name: played.comment.user.clone(),
            role: Role::Viewer,
            everywhere: Role::Viewer,
            avatar: None,
            comments_per_minute: None,
            standing: Default::default(),
        };
        if self.limits.check(&identity, now).is_err() {
            self.totals.refused += 1;
            self.minute.left_out += 1;
            return;
        }
        self.rate.add(1, now);
        if !take(&mut self.throttle_carry, self.sample_rate) {
            self.totals.sampled_out += 1;
            self.minute.left_out += 1;
            return;
        }
        self.load.offered += 1;
        let share = self.pace.share();
        if !take(&mut self.egress_carry, share) {
            self.totals.egress_sampled_out += 1;
            self.minute.left_out += 1;
            return;
        }
        self.load.shown += 1;
        self.totals.shown += 1;
        self.minute.shown += 1;
        let second = at_ms as u64 / 1_000;
        self.second = match self.second {
            (current, shown) if current == second => (current, shown + 1),
            _ => (second, 1),
        };
        self.totals.most_per_second = self.totals.most_per_second.max(self.second.1);
        let bytes = self.wire.add(
            at_ms,
            ShownComment {
                user: played.user,
                name: &played.comment.user,
                text: &played.comment.text,
                sample_rate: share.of(self.sample_rate),
            },
        );
        self.count_bytes(bytes);
    }

    fn count_bytes(&mut self, bytes: u64) {
        self.minute.bytes += bytes;
        self.totals.bytes_per_viewer += bytes;
        self.load.sent_bytes += bytes * self.viewers_per_node;
    }

    fn finish(&mut self) {
        let bytes = self.wire.advance(f64::MAX);
        self.count_bytes(bytes);
    }

    fn flaps(&self) -> u64 {
        let is_flap = |pair: &[LevelChange]| {
            pair[0].from == pair[1].to && pair[1].at_ms - pair[0].at_ms < FLAP_MS
        };
        self.changes.windows(2).filter(|pair| is_flap(pair)).count() as u64
    }
}

/// Decides whether the next comment is shown, so that the part shown is the share.
fn take(carry: &mut f64, share: SampleRate) -> bool {
    *carry += share.share();
    let is_shown = *carry >= 1.0;
    if is_shown {
        *carry -= 1.0;
    }
    is_shown
}

#[cfg(test)]
mod tests;
