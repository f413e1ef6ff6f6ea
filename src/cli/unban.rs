//! `lc unban`: lifts a user's ban and timeout.

use std::process::ExitCode;

use super::change::{UserArgs, submit};
use super::context::Context;
use crate::client::outcome_text;
use crate::protocol::admin::UserRequest;

pub(super) async fn run(args: UserArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = UserRequest::from(args);
    let describe = |outcome: &_| outcome_text::unbanned(&request.user, outcome);
    submit("/v1/unban", &request, context, describe).await
}
