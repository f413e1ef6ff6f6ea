//! `lc token`: creates an access token, through the daemon or with the secret in its data
//! directory.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::arguments::{non_zero_duration, role, to_ms};
use super::context::Context;
use super::output::{now_ms, write};
use crate::client::admin::AdminError;
use crate::client::token::{Claims, mint, secret_of};
use crate::protocol::admin::{TokenRequest, Tokens};
use crate::protocol::paths::SIGNING_SECRET;
use crate::protocol::{Role, UserId};

/// Create an access token
///
/// The daemon signs the token. If no daemon runs, it is signed with the secret in the data
/// directory. Only the token is printed, even in a pipe, so that `$(lc token --user 42)` works;
/// --json prints an object.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// User id
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// User name, 1 to 64 characters [default: "user" and the id]
    #[arg(long)]
    name: Option<String>,
    /// Role, which sets what the user may do
    #[arg(long, default_value = "viewer", value_parser = role())]
    role: Role,
    /// Lifetime of the token
    #[arg(long = "for", value_name = "TIME", value_parser = non_zero_duration, default_value = "24h")]
    lifetime: Duration,
    /// Comments per minute, 0 for no limit [default: the limit of the role]
    #[arg(long, value_name = "N")]
    comments_per_minute: Option<u32>,
    /// Number of tokens, for consecutive user ids starting at ID
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

pub(super) async fn run(
    args: TokenArgs,
    json: bool,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let name = args.name.unwrap_or_else(|| format!("user{}", args.user));
    let request = TokenRequest {
        user_id: args.user,
        name,
        role: args.role,
        ttl_ms: to_ms(args.lifetime),
        comments_per_minute: args.comments_per_minute,
        count: args.count,
    };
    let tokens = obtain(&request, context).await?;
    if json {
        context.output().item(&tokens, String::new)?;
    } else {
        write(&tokens.tokens.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gets the tokens from the daemon, or signs them here if no daemon listens.
async fn obtain(request: &TokenRequest, context: &Context) -> anyhow::Result<Tokens> {
    let not_running = match context.admin().post("/v1/tokens", request).await {
        Err(error @ AdminError::NotRunning { .. }) => error,
        result => return Ok(result?),
    };
    let secret_path = context.data_dir.join(SIGNING_SECRET);
    if !secret_path.exists() {
        return Err(anyhow::Error::new(not_running).context(format!(
            "cannot sign a token: {} does not exist either",
            secret_path.display()
        )));
    }
    let tokens = sign(request, &secret_path, Duration::from_millis(now_ms()))?;
    eprintln!("lc: no daemon is running; signed with {}", secret_path.display());
    Ok(Tokens { tokens })
}

fn sign(request: &TokenRequest, secret_path: &Path, now: Duration) -> anyhow::Result<Vec<String>> {
    let secret = std::fs::read(secret_path)
        .with_context(|| format!("cannot read the signing secret {}", secret_path.display()))?;
    let tokens = (0..u64::from(request.count))
        .map(|offset| {
            let user_id = request.user_id.0 + offset;
            let name = match request.count {
                1 => request.name.clone(),
                _ => format!("{}{user_id}", request.name),
            };
            let lifetime = Duration::from_millis(request.ttl_ms);
            let mut claims = Claims::new(UserId(user_id), &name, now, lifetime);
            claims.role = request.role;
            claims.comments_per_minute = request.comments_per_minute;
            mint(secret_of(&secret), &claims)
        })
        .collect();
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    #[test]
    fn a_locally_signed_token_has_the_given_claims() {
        let dir = tempfile::tempdir().unwrap();
        let secret_path = dir.path().join(SIGNING_SECRET);
        std::fs::write(&secret_path, b"0123456789abcdef0123456789abcdef").unwrap();
        let request = TokenRequest {
            user_id: UserId(42),
            name: "ann".into(),
            role: Role::Moderator,
            ttl_ms: 90_500,
            comments_per_minute: Some(0),
            count: 2,
        };
        let now = Duration::from_millis(now_ms());
        let tokens = sign(&request, &secret_path, now).unwrap();
        let key = DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let claims = decode::<Claims>(&tokens[1], &key, &Validation::default()).unwrap().claims;
        let mut expected = Claims::new(UserId(43), "ann43", now, Duration::from_millis(90_500));
        expected.role = Role::Moderator;
        expected.comments_per_minute = Some(0);
        assert_eq!(claims, expected);
        assert_eq!(tokens.len(), 2);
    }
}
