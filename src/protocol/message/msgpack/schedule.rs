//! The life of a stream in MessagePack.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::stream::{StreamNotice, StreamSchedule, StreamState};

/// `[state, starts_at]`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactSchedule {
    state: StreamState,
    starts_at: Option<u64>,
}

impl From<StreamSchedule> for CompactSchedule {
    fn from(StreamSchedule { state, starts_at }: StreamSchedule) -> Self {
        Self { state, starts_at }
    }
}

impl From<CompactSchedule> for StreamSchedule {
    fn from(CompactSchedule { state, starts_at }: CompactSchedule) -> Self {
        Self { state, starts_at }
    }
}

/// `[17, state, title, description, starts_at, started_at]`
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactNotice {
    kind: u8,
    state: StreamState,
    title: Arc<str>,
    description: Arc<str>,
    starts_at: Option<u64>,
    started_at: Option<u64>,
}

impl From<&StreamNotice> for CompactNotice {
    fn from(notice: &StreamNotice) -> Self {
        Self {
            kind: 17,
            state: notice.state,
            title: notice.title.clone(),
            description: notice.description.clone(),
            starts_at: notice.starts_at,
            started_at: notice.started_at,
        }
    }
}

impl From<CompactNotice> for StreamNotice {
    fn from(compact: CompactNotice) -> Self {
        Self {
            state: compact.state,
            title: compact.title,
            description: compact.description,
            starts_at: compact.starts_at,
            started_at: compact.started_at,
        }
    }
}
