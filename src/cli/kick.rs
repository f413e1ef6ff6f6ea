//! `lc kick`: closes a user's connections.

use std::process::ExitCode;

use super::change::{UserArgs, submit};
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::UserRequest;

pub(super) async fn run(args: UserArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UserRequest::from(args);
    let describe = |outcome: &_| outcome_text::kicked(&request.user, outcome);
    submit("/v1/kick", &request, context, describe).await
}
