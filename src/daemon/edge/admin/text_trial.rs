//! Tries a text on moderation, without sending it.
//!
//! Always holds: nothing is stored, counted or logged. The text is checked as a comment of that
//! user on that stream would be, and each stage tells its finding.

use std::sync::Arc;

use axum::extract::State;

use super::AdminState;
use super::error::Answer;
use super::request::JsonBody;
use crate::daemon::base::config::IngestConfig;
use crate::daemon::edge::http::{HttpError, Json};
use crate::daemon::stages::ingest;
use crate::daemon::stages::moderation::{ModerationContext, Pipeline, Subject};
use crate::protocol::admin::{TextTrial, TextTrialRequest};
use crate::protocol::events::Decision;
use crate::protocol::{Comment, CommentId, StreamId, UserId};

/// The parts of the node with which a text is tried.
#[derive(Debug, Clone)]
pub struct TextTrials {
    /// The stages that check this node's comments.
    pub pipeline: Arc<Pipeline>,
    /// The users and streams as this node knows them.
    pub context: Arc<ModerationContext>,
    /// The limits of a comment.
    pub limits: IngestConfig,
}

pub(super) async fn test(
    State(state): State<AdminState>,
    JsonBody(request): JsonBody<TextTrialRequest>,
) -> Answer<Json<TextTrial>> {
    let parts = &state.parts;
    let control = &parts.control;
    let TextTrialRequest { text, stream_id, user } = request;
    let message = ingest::validate(&text, &parts.trials.limits)
        .map_err(|error| HttpError::from(error.body()))?;
    if let Some(stream_id) = stream_id {
        control.require_stream(stream_id).await?;
    }
    let user = match user {
        Some(user) => Some(control.who(&user).await?),
        None => None,
    };
    let user_id = user.as_ref().map(|user| user.user_id);
    let now_ms = control.parts().clock.now_ms();
    let comment = Comment {
        // No stream and no user has the number 0, so nothing was counted for it.
        stream_id: stream_id.unwrap_or(StreamId(0)),
        comment_id: CommentId::from_unix_ticks(now_ms.saturating_mul(10_000), 0, [0; 6]),
        user_id: user_id.unwrap_or(UserId(0)),
        name: user.as_ref().and_then(|user| user.name.as_deref()).unwrap_or_default().into(),
        message,
        created_at: now_ms,
        badges: Default::default(),
        parent_id: None,
    };
    let role = user.as_ref().map(|user| user.role());
    parts.trials.context.look_up(&[comment.user_id]).await;
    let context = parts.trials.context.of_comment(&comment, role);
    let subject = Subject {
        comment: &comment,
        role,
        lowered: context.lowered(),
        raised: context.raised(),
        deadline: None,
    };
    let stages = parts.trials.pipeline.explain(&subject).await;
    let deciding = stages.iter().find(|stage| stage.decides);
    Ok(Json(TextTrial {
        node: parts.about.node.clone(),
        decision: deciding.map_or(Decision::Accept, |stage| stage.decision),
        reason: deciding.map(|stage| stage.reason.clone()),
        user_id,
        stages,
        thresholds: Some(context.explained()),
    }))
}
