//! A reload: reads the files that can change while the node runs.
//!
//! In: SIGHUP. Out: the service manager is told, and of each part that has files there is a log
//! line, an event, and the problem `reload_failed` until it can be read. Always holds: files that
//! cannot be used change nothing; a part that fails keeps no other from being read.

use std::sync::Arc;

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use super::systemd::notify;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::gateway::CertificateRenewal;
use crate::daemon::stages::moderation::{Pipeline, Reloaded};
use crate::protocol::admin::ProblemCode;

/// The part that has a problem if a stage panics while it reads its files.
const ALL_STAGES: &str = "moderation";
/// The state of a part that could not be read.
const OLD_CERTIFICATE: &str = "the previous certificate stays in use";
const OLD_MODERATION: &str = "moderation stays as it was";

/// Reads the files of `gateway.tls`, `admin.certificate` with its key, and the files of moderation
/// again.
pub(super) async fn reload(
    certificates: Vec<CertificateRenewal>,
    pipeline: Arc<Pipeline>,
    board: StatusBoard,
) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "cannot notify the service manager of a reload: no clock"),
    }
    let has_certificates = !certificates.is_empty();
    for certificate in certificates {
        renew(certificate, &board).await;
    }
    let has_stages = reload_moderation(pipeline, &board).await;
    if !has_certificates && !has_stages {
        info!("reload: nothing to do without gateway.tls and files of moderation");
    }
    notify(&[NotifyState::Ready]);
}

/// Ends the problems of earlier reloads: a node that was assembled again has read all its files.
pub(super) fn forget_failures(board: &StatusBoard) {
    board.problems().clear_all(ProblemCode::ReloadFailed);
}

async fn renew(certificate: CertificateRenewal, board: &StatusBoard) {
    let part = certificate.section();
    let renewed = tokio::task::spawn_blocking(move || certificate.renew()).await;
    match renewed.map_err(|error| error.to_string()).and_then(|it| it.map_err(|e| e.to_string())) {
        Ok(()) => {
            info!(part, "reload: new connections use the renewed certificate");
            succeed(board, part, "new connections use the renewed certificate");
        }
        Err(error) => {
            error!(part, error, "reload failed; the previous certificate stays in use");
            fail(board, part, &error, OLD_CERTIFICATE);
        }
    }
}

/// Returns whether a stage has files.
async fn reload_moderation(pipeline: Arc<Pipeline>, board: &StatusBoard) -> bool {
    let reloaded = match tokio::task::spawn_blocking(move || pipeline.reload()).await {
        Ok(reloaded) => {
            board.problems().clear(ProblemCode::ReloadFailed, ALL_STAGES);
            reloaded
        }
        Err(error) => {
            error!(%error, "reload failed; moderation stays as it was");
            fail(board, ALL_STAGES, &error.to_string(), OLD_MODERATION);
            return true;
        }
    };
    for Reloaded { stage, result } in &reloaded {
        let part = format!("moderation.{stage}");
        match result {
            Ok(now) => {
                info!(stage, now, "reload: moderation uses the new file");
                succeed(board, &part, now);
            }
            Err(error) => {
                error!(stage, error, "reload failed; moderation stays as it was");
                fail(board, &part, error, OLD_MODERATION);
            }
        }
    }
    !reloaded.is_empty()
}

fn succeed(board: &StatusBoard, part: &str, now: &str) {
    board.problems().clear(ProblemCode::ReloadFailed, part);
    board.reloads().record(format!("reload of {part}: {now}"));
}

fn fail(board: &StatusBoard, part: &str, error: &str, stays: &str) {
    let text = format!("{error}; {stays} until a reload (SIGHUP) succeeds");
    board.problems().raise(ProblemCode::ReloadFailed, part, text);
    board.reloads().record(format!("reload of {part} failed: {error}; {stays}"));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::daemon::base::config::{ModerationConfig, ModerationStage, RulesConfig};
    use crate::daemon::stages::moderation::build_pipeline;

    fn told(board: &StatusBoard) -> Vec<(String, String)> {
        board.problems().list().into_iter().map(|it| (it.subject, it.text)).collect()
    }

    /// Rules with a file of words.
    fn pipeline(words: &Path) -> Arc<Pipeline> {
        let rules =
            RulesConfig { blocked_words_file: Some(words.to_owned()), ..RulesConfig::default() };
        let stages = vec![ModerationStage::Rules];
        let config = ModerationConfig { stages, rules, ..ModerationConfig::default() };
        Arc::new(build_pipeline(&config, &StatusBoard::default(), None).unwrap())
    }

    #[tokio::test]
    async fn a_failed_reload_is_a_problem_until_one_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let words = directory.path().join("words.txt");
        std::fs::write(&words, "badword\n").unwrap();
        let pipeline = pipeline(&words);
        let board = StatusBoard::default();
        let again = async || reload(Vec::new(), pipeline.clone(), board.clone()).await;
        again().await;
        assert_eq!(told(&board), []);
        let events = board.reloads().take();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(events[0].starts_with("reload of moderation.rules: 1 words of /"), "{events:?}");

        std::fs::remove_file(&words).unwrap();
        for _ in 0..2 {
            again().await;
            let [(part, text)] = &told(&board)[..] else { panic!("one problem") };
            assert_eq!(part, "moderation.rules");
            let file = words.display().to_string();
            assert!(text.contains(&file) && text.contains("No such file"), "{text}");
            let stays = "; moderation stays as it was until a reload (SIGHUP) succeeds";
            assert!(text.ends_with(stays), "{text}");
            let events = board.reloads().take();
            assert!(events[0].starts_with("reload of moderation.rules failed: "), "{events:?}");
        }

        std::fs::write(&words, "badword\nother\n").unwrap();
        again().await;
        assert_eq!(told(&board), []);
    }

    #[tokio::test]
    async fn a_node_that_is_built_again_has_read_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let words = directory.path().join("words.txt");
        std::fs::write(&words, "badword\n").unwrap();
        let pipeline = pipeline(&words);
        std::fs::write(&words, "").unwrap();
        let board = StatusBoard::default();
        reload(Vec::new(), pipeline, board.clone()).await;
        assert_eq!(told(&board).len(), 1, "an empty file gives up no words");
        let next = board.successor();
        assert_eq!((told(&next).len(), next.reloads().take().len()), (1, 1));
        forget_failures(&next);
        assert_eq!(told(&next), []);
    }
}
