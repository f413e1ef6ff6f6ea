//! `lc dm`: sends a message to one user.

use std::process::ExitCode;

use clap::Args;

use super::change::UserArg;
use super::context::Context;
use super::exit;
use super::output::warn_unreachable;
use crate::client::outcome_text;
use crate::protocol::admin::{DirectRequest, Outcome};

/// Send a message to one user, on all of the user's connections
///
/// The message is kept until the user reads it, for at most 30 days. Of those that operators and
/// moderators have sent to a user, the newest 50 are kept.
#[derive(Debug, Args)]
pub(super) struct DmArgs {
    #[command(flatten)]
    user: UserArg,
    /// The message, up to 500 characters; several words need no quotes
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
}

pub(super) async fn run(args: DmArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let request = DirectRequest { user: args.user.into(), message: args.text.join(" ") };
    let outcome: Outcome = context.admin().post("/v1/dm", &request).await?;
    context.output().result(&outcome, || outcome_text::messaged(&request.user, &outcome))?;
    warn_unreachable(&outcome.unreachable);
    let is_lost = outcome.connections.unwrap_or(0) == 0 && !outcome.kept;
    Ok(if is_lost { exit::FAILED.into() } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::kept_message::{KEPT_FOR_MS, MAX_KEPT_MESSAGES};
    use crate::protocol::text::MAX_NOTE_CHARS;

    #[test]
    fn the_help_names_the_limits() {
        let help = DmArgs::augment_args(clap::Command::new("dm")).render_long_help().to_string();
        for limit in [
            format!("at most {} days", KEPT_FOR_MS / 86_400_000),
            format!("the newest {MAX_KEPT_MESSAGES} are kept"),
            format!("up to {MAX_NOTE_CHARS} characters"),
        ] {
            let words: Vec<_> = help.split_whitespace().collect();
            assert!(words.join(" ").contains(&limit), "{limit}: {help}");
        }
    }
}
