//! Judges the settings of the servers behind the engines: each finding says what a value means for
//! viewers, in numbers of a node where they are known.
//!
//! Always holds: nothing is changed on a server. A setting that cannot be read is a finding of its
//! own, never an error. Judging is a pure function of what was read and of the figures of the node.

mod cassandra;
mod figures;
mod judgement;
mod kafka;
mod postgres;
mod redis;
#[cfg(test)]
mod tests;

use axum::extract::State;
use serde::Deserialize;

use self::figures::NodeFigures;
use super::AdminState;
use super::error::Answer;
use super::request::Params;
use crate::daemon::edge::http::{HttpError, Json};
use crate::daemon::engines::server_settings::{ReadServer, ServerSettings};
use crate::protocol::admin::{Cluster, DoctorFinding};
use crate::protocol::printable::printable;
use crate::protocol::{ErrorCode, NodeId};

/// Letters of a name that an error repeats.
const MAX_SHOWN_NAME: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DoctorParams {
    /// The node whose figures count, if not this one.
    #[serde(default)]
    node: Option<String>,
}

pub(super) async fn doctor(
    State(state): State<AdminState>,
    Params(DoctorParams { node }): Params<DoctorParams>,
) -> Answer<Json<Cluster<DoctorFinding>>> {
    let parts = &state.parts;
    let (servers, view) = tokio::join!(parts.servers.read(), parts.cluster());
    let node = node.map_or_else(|| parts.about.node.clone(), |name| NodeId::new(&name));
    let Some(figures) = NodeFigures::of(&view, &node) else {
        let shown: String = printable(node.as_str()).chars().take(MAX_SHOWN_NAME).collect();
        let message = format!("no node `{shown}` reports");
        return Err(HttpError::new(ErrorCode::NotFound, message).into());
    };
    let items = servers.iter().flat_map(|server| judge(server, &figures)).collect();
    Ok(Json(Cluster { items, unreachable: view.unreachable }))
}

fn judge(read: &ReadServer, figures: &NodeFigures) -> Vec<DoctorFinding> {
    let server = read.server.as_str();
    match &read.settings {
        Ok(ServerSettings::Redis(found)) => redis::judge(server, found, figures),
        Ok(ServerSettings::Kafka(found)) => kafka::judge(server, found, figures),
        Ok(ServerSettings::Cassandra(found)) => cassandra::judge(server, found, figures),
        Ok(ServerSettings::Postgres(found)) => postgres::judge(server, found, figures),
        Err(reason) => {
            vec![DoctorFinding::not_checked("server", server.to_owned(), reason.clone())]
        }
    }
}
