//! The event loop of the console: wait for an event, apply it, draw.

mod switching;

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::sync::mpsc::Receiver;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::act::{Action, ActionsOutcome, UndoEntry, progress_text, run_all};
use super::attachment::{Attachment, Snapshots, open_attachment};
use super::console_screen::{ConsoleScreen, Detected, ring};
use super::contexts::{ContextEntry, ContextSource};
use super::fetch::{Fetched, Fetcher, Past, read_past, read_views};
use super::pace::FramePace;
use super::recording::{FeedRecorder, FeedRecordingError};
use super::state::{Connection, Console, Effect, Notice};
use super::theme::ThemeName;
use super::{ConsoleOptions, SnapshotEvent, input, picture, snapshots_path, view};
use crate::client::admin::{AdminClient, AdminError, PREVIEW};
use crate::client::follow::Followed;
use crate::protocol::admin::{Alert, Cluster, Preview, PreviewRequest, SavedView, TopSnapshot};

/// Maximum number of running requests. Further ones are refused, not queued.
const MAX_REQUESTS: usize = 8;

/// An error that ended the console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Binding(#[from] super::BindingError),
    #[error("there is no view @{name}; saved are: {known}")]
    UnknownView { name: String, known: String },
    #[error("{0}")]
    View(String),
    #[error(transparent)]
    Recording(#[from] FeedRecordingError),
    #[error("the terminal failed: {0}")]
    Terminal(#[from] io::Error),
}

/// Runs until the operator quits, `stop` is cancelled, or the daemon refuses the request.
///
/// # Errors
///
/// Fails before anything is drawn if no daemon listens at the start or a binding is wrong. A daemon
/// that is lost later is reconnected to.
pub async fn run(
    client: AdminClient,
    options: ConsoleOptions,
    stop: CancellationToken,
) -> Result<(), ConsoleError> {
    options.check()?;
    let Attachment { client, snapshots, session } =
        open_attachment(client, options.interval).await?;
    let (fetcher, fetched) = Fetcher::new(client.clone());
    let saved = saved_view(&client, &options).await?;
    let recorder = options.record.as_deref().map(FeedRecorder::create).transpose()?;
    let detected = Detected::by_terminal(&options);
    let mut console = options.console(detected.theme())?;
    console.set_session(session);
    show_saved(&mut console, saved)?;
    let mut event_loop = EventLoop {
        client,
        snapshots,
        fetched,
        screen: ConsoleScreen::start(console, &options, detected)?,
        pace: FramePace::new(options.interval),
        contexts: options.contexts.clone(),
        interval: options.interval,
        requests: JoinSet::new(),
        running_acts: 0,
        previewing: None,
        attaching: None,
        refused: None,
        fetcher,
        recorder,
        stop,
    };
    event_loop.run().await?;
    if let Some(recorder) = &mut event_loop.recorder {
        recorder.finish()?;
    }
    Ok(())
}

/// The outcome of a request.
enum Finished {
    Acted { text: String, outcome: Result<ActionsOutcome, AdminError> },
    TookBack { entry: UndoEntry, outcome: Result<ActionsOutcome, AdminError> },
    Previewed { asked: PreviewRequest, answer: Result<Preview, AdminError> },
    Attached { context: ContextEntry, outcome: Result<Attachment, AdminError> },
}

/// The console with its terminal, its daemon and its running requests.
struct EventLoop {
    client: AdminClient,
    snapshots: Snapshots,
    /// The answers that the fetcher got.
    fetched: Receiver<Fetched>,
    screen: ConsoleScreen,
    pace: FramePace,
    contexts: Arc<dyn ContextSource>,
    /// Time between two snapshots.
    interval: Duration,
    requests: JoinSet<Finished>,
    /// Requests among them that change something.
    running_acts: usize,
    /// The preview for the latest question, the only one that runs.
    previewing: Option<AbortHandle>,
    /// The attempt to attach to another daemon.
    attaching: Option<AbortHandle>,
    /// The refusal of this daemon that came during such an attempt. The console ends with it,
    /// unless the attempt succeeds.
    refused: Option<AdminError>,
    fetcher: Fetcher,
    recorder: Option<FeedRecorder>,
    stop: CancellationToken,
}

impl EventLoop {
    async fn run(&mut self) -> Result<(), ConsoleError> {
        let mut input = self.screen.input();
        // Keys are answered at once; what only arrives waits for its frame.
        let mut draw_at = Some(Instant::now());
        loop {
            if draw_at.is_some_and(|at| at <= Instant::now()) {
                match self.screen.draw()? {
                    Some(written_for) => self.pace.record(Instant::now(), written_for),
                    None => self.pace.record_full_redraw(Instant::now()),
                }
                self.screen.console.slow_link = self.pace.lowered();
                draw_at = None;
            }
            self.fetcher.set(self.screen.console.needs());
            let next_frame = self.pace.next_frame(Instant::now());
            let wake_at = draw_at.unwrap_or(next_frame);
            let contact_ends = self.screen.contact_ends();
            let mut at_once = false;
            let effect = tokio::select! {
                event = input.next() => {
                    at_once = true;
                    match event {
                        Some(event) => self.handle_input(&event?),
                        // The terminal was closed.
                        None => Some(Effect::Quit),
                    }
                }
                event = self.snapshots.next() => {
                    let effect = self.handle_snapshot(event)?;
                    if let Some(text) = self.screen.console.take_raised() {
                        ring(&text)?;
                    }
                    effect
                }
                Some(fetched) = self.fetched.recv() => {
                    self.handle_fetched(fetched);
                    None
                }
                Some(result) = self.requests.join_next() => {
                    match result {
                        Ok(finished) => self.finish(finished)?,
                        // The preview for a question before the latest.
                        Err(error) if error.is_cancelled() => {}
                        Err(error) => resume_unwind(error.into_panic()),
                    }
                    // The effect of an act is on the screen before the next key consents to it.
                    at_once = true;
                    None
                }
                () = tokio::time::sleep_until(wake_at), if draw_at.is_some() => continue,
                // A daemon that is frozen sends nothing that would make a frame.
                () = tokio::time::sleep_until(contact_ends.unwrap_or(wake_at)),
                    if contact_ends.is_some() =>
                {
                    self.screen.check_contact();
                    None
                }
                () = self.stop.cancelled() => Some(Effect::Quit),
            };
            let wanted = if at_once { Instant::now() } else { next_frame };
            draw_at = Some(draw_at.map_or(wanted, |at| at.min(wanted)));
            match effect {
                Some(Effect::Quit) => return Ok(()),
                Some(effect) => self.carry_out(effect)?,
                None => {}
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), ConsoleError> {
        match self.screen.carry_out(effect)? {
            Some(Effect::Preview(asked)) => self.preview(asked),
            Some(Effect::Run(actions)) => self.start(actions),
            Some(Effect::TakeBack(entry)) => self.take_back(entry),
            Some(Effect::Attach(name)) => self.start_attaching(&name),
            Some(Effect::CancelAttaching) => self.cancel_attaching()?,
            _ => {}
        }
        Ok(())
    }

    fn handle_snapshot(
        &mut self,
        event: Option<SnapshotEvent>,
    ) -> Result<Option<Effect>, AdminError> {
        match event {
            Some(Followed::Item(snapshot)) => {
                let first = self.screen.console.moment().is_none();
                let again = self.screen.console.connection != Connection::Live;
                self.screen.set_clock();
                self.screen.console.add_snapshot(snapshot);
                let recorder = self.recorder.as_mut();
                if let Some(trouble) = recorder.and_then(|it| it.add(self.screen.console.feed())) {
                    self.screen.console.notice = Some(Notice::Failed(trouble));
                }
                if first || again {
                    self.fetcher
                        .fetch_past(self.screen.console.feed().latest().map_or(0, |m| m.at_ms));
                }
            }
            Some(Followed::Lost { why, retry_in }) => {
                self.screen.console.connection_lost(why.to_string(), retry_in);
            }
            Some(Followed::Ended(error)) if self.attaching.is_some() => self.keep_refusal(error),
            Some(Followed::Ended(error)) => return Err(error),
            None => return Ok(Some(Effect::Quit)),
        }
        Ok(None)
    }

    fn handle_fetched(&mut self, fetched: Fetched) {
        let side = &mut self.screen.console.side;
        let error = match fetched {
            Fetched::Reviews(Ok(reviews)) => {
                side.reviews = reviews;
                None
            }
            Fetched::Decided(Ok(decided)) => {
                side.decisions = decided.decisions;
                side.offenders = decided.offenders;
                None
            }
            Fetched::Audit(Ok(audit)) => {
                side.audit = audit;
                None
            }
            Fetched::Shadows(shadows) => {
                side.shadows = shadows;
                return;
            }
            Fetched::Tail(stream_id, item) => {
                let tail = side.tail.as_mut().filter(|tail| tail.stream_id == stream_id);
                if let Some(tail) = tail {
                    tail.add(item);
                }
                return;
            }
            Fetched::Talkers(stream_id, talkers) => {
                if side.tail.as_ref().is_some_and(|tail| tail.stream_id == stream_id) {
                    side.talkers = talkers;
                }
                return;
            }
            Fetched::Alerts(alerts) => {
                self.screen.console.set_alerts(alerts);
                return;
            }
            Fetched::Views(views) => {
                side.views = views;
                return;
            }
            Fetched::Terms(read) => {
                side.terms = Some(read);
                return;
            }
            Fetched::Past(past) => {
                fill_past(&mut self.screen.console, &past);
                return;
            }
            Fetched::Reviews(Err(error))
            | Fetched::Decided(Err(error))
            | Fetched::Audit(Err(error))
            | Fetched::TailFailed(error) => Some(error),
        };
        if let Some(error) = error {
            self.screen.console.notice = Some(Notice::Failed(error.to_string()));
        }
    }

    /// Returns whether another request may be started; if not, says so.
    fn has_room(&mut self) -> bool {
        if let Some(why) = self.screen.console.turned_away() {
            self.screen.console.notice = Some(Notice::Failed(why));
            return false;
        }
        let room = self.requests.len() < MAX_REQUESTS;
        if !room {
            let text = format!("{MAX_REQUESTS} requests are still waiting for the daemon");
            self.screen.console.notice = Some(Notice::Failed(text));
        }
        room
    }

    fn preview(&mut self, asked: PreviewRequest) {
        // Nobody waits for the answer to an earlier question. It must not answer this one, which
        // may be the same, and must not take the place of an act.
        if let Some(earlier) = self.previewing.take() {
            earlier.abort();
        }
        if !self.has_room() {
            let why = "the daemon was not asked".to_owned();
            input::show_effect(&mut self.screen.console, &asked, Err(why));
            return;
        }
        let client = self.client.clone();
        let preview = self.requests.spawn(async move {
            let answer = client.post(PREVIEW, &asked).await;
            Finished::Previewed { asked, answer }
        });
        self.previewing = Some(preview);
    }

    fn start(&mut self, actions: Vec<Action>) {
        if !self.has_room() {
            return;
        }
        self.screen.console.notice = Some(Notice::Running(progress_text(&actions)));
        self.running_acts += 1;
        let client = self.client.clone();
        self.requests.spawn(async move {
            let text = progress_text(&actions).trim_end_matches(" …").to_owned();
            Finished::Acted { text, outcome: run_all(&client, actions).await }
        });
    }

    fn take_back(&mut self, entry: UndoEntry) {
        if !self.has_room() {
            self.screen.console.undo.put_back(entry);
            return;
        }
        self.running_acts += 1;
        let client = self.client.clone();
        self.requests.spawn(async move {
            let outcome = run_all(&client, entry.reversals.clone()).await;
            Finished::TookBack { entry, outcome }
        });
    }

    /// Shows the outcome of a request.
    ///
    /// # Errors
    /// No daemon is left: this one refused while the console attached to another, which failed.
    fn finish(&mut self, finished: Finished) -> Result<(), AdminError> {
        if matches!(finished, Finished::Acted { .. } | Finished::TookBack { .. }) {
            self.running_acts = self.running_acts.saturating_sub(1);
            self.fetcher.refresh_reviews();
        }
        match finished {
            Finished::Acted { text, outcome: Ok(ActionsOutcome { sentence, done }) } => {
                self.screen.set_clock();
                self.screen.console.notice = Some(Notice::Done(sentence));
                let is_view = |(action, _): &(Action, u64)| {
                    matches!(action, Action::SaveView(_) | Action::ForgetView(_))
                };
                if done.iter().any(is_view) {
                    self.fetcher.fetch_views();
                }
                input::undo_done(&mut self.screen.console, &done, text);
            }
            Finished::TookBack { mut entry, outcome: Ok(ActionsOutcome { sentence, done }) } => {
                self.screen.console.notice = Some(Notice::Done(sentence));
                // Each reversal is a request of its own; those that are left can be tried again.
                entry.reversals.drain(..done.len().min(entry.reversals.len()));
                if !entry.reversals.is_empty() {
                    self.screen.console.undo.put_back(entry);
                }
            }
            Finished::TookBack { entry, outcome: Err(error) } => {
                self.screen.console.notice = Some(Notice::Failed(error.to_string()));
                if error.retry() {
                    self.screen.console.undo.put_back(entry);
                }
            }
            Finished::Acted { outcome: Err(error), .. } => {
                self.screen.console.notice = Some(Notice::Failed(error.to_string()));
            }
            Finished::Previewed { asked, answer } => {
                let answer = answer.map_err(|error| error.to_string());
                input::show_effect(&mut self.screen.console, &asked, answer);
            }
            Finished::Attached { context, outcome } => {
                return self.finish_attaching(context, outcome);
            }
        }
        Ok(())
    }
}

/// Returns the view that the console starts with, if it is one that operators saved.
async fn saved_view(
    client: &AdminClient,
    options: &ConsoleOptions,
) -> Result<Option<SavedView>, ConsoleError> {
    let Some(name) = options.view.as_deref().and_then(|view| view.strip_prefix('@')) else {
        return Ok(None);
    };
    let views = read_views(client).await?;
    let known: Vec<_> = views.iter().map(|view| format!("@{}", view.name)).collect();
    match views.into_iter().find(|view| view.name == name) {
        Some(view) => Ok(Some(view)),
        None => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(ConsoleError::UnknownView { name: name.to_owned(), known })
        }
    }
}

fn show_saved(console: &mut Console, saved: Option<SavedView>) -> Result<(), ConsoleError> {
    saved.map_or(Ok(()), |saved| console.show_saved(&saved)).map_err(ConsoleError::View)
}

/// Shows what the daemon kept of the time before.
fn fill_past(console: &mut Console, past: &Past) {
    past.timelines.iter().for_each(|answer| console.fill_past(answer));
    console.fill_events(&past.events);
    console.set_session(past.session.clone());
}

/// Returns one frame as text or as a picture. It waits for two snapshots, because the load of
/// workers is a difference.
pub async fn frame(
    client: AdminClient,
    options: ConsoleOptions,
    (width, height): (u16, u16),
) -> Result<String, ConsoleError> {
    let theme = if options.svg { ThemeName::Dark } else { ThemeName::Mono };
    let mut console = options.console(theme)?;
    show_saved(&mut console, saved_view(&client, &options).await?)?;
    console.set_size(width, height);
    let mut lines = client.lines::<TopSnapshot>(&snapshots_path(options.interval)).await?;
    let alerts = client.get::<Cluster<Alert>>("/v1/alerts").await;
    console.set_alerts(alerts.ok().map(|list| list.items));
    for _ in 0..2 {
        match lines.next().await {
            Some(snapshot) => console.add_snapshot(snapshot?),
            None => {
                return Err(AdminError::Broken("the daemon ended the stream".to_owned()).into());
            }
        }
    }
    let past = read_past(&client, console.now_ms()).await;
    fill_past(&mut console, &past);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view::draw(buffer.area, &mut buffer, &console, options.ascii);
    Ok(if options.svg { picture::svg(&buffer) } else { view::text(&buffer) })
}
