//! `lc token`: creates an access token, through the daemon or with the secret in its data
//! directory.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::arguments::{LONGEST_BAN, duration_up_to, role, small_count_in, to_ms};
use super::context::Context;
use super::output::{note, now_ms, write};
use crate::client::admin::AdminError;
use crate::client::token::{Claims, mint, secret_of};
use crate::protocol::admin::{TokenRequest, TokenUser, Tokens};
use crate::protocol::paths::SIGNING_SECRET;
use crate::protocol::printable::printable;
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
    /// User name, 1 to 64 characters; with --count above 1 the id is added [default: "user" and
    /// the id]
    #[arg(long)]
    name: Option<String>,
    /// Role, which sets what the user may do
    #[arg(long, default_value = "viewer", value_parser = role())]
    role: Role,
    /// Lifetime of the token
    #[arg(long = "for", value_name = "TIME", value_parser = duration_up_to(LONGEST_BAN), default_value = "24h")]
    lifetime: Duration,
    /// Comments per minute, 0 for no limit [default: the limit of the role]
    #[arg(long, value_name = "N", value_parser = small_count_in(0..=u32::MAX))]
    comments_per_minute: Option<u32>,
    /// Number of tokens, for consecutive user ids starting at ID; up to 10k
    #[arg(long, value_name = "N", default_value = "1", value_parser = small_count_in(1..=10_000))]
    count: u32,
}

pub(super) async fn run(
    args: TokenArgs,
    json: bool,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let name = args.name.unwrap_or_else(|| default_name(args.user, args.count));
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
        let lines: Vec<_> = tokens.tokens.iter().map(|token| printable(token)).collect();
        write(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the name that makes each user "user" and its own id: with several tokens the id is
/// added to the name.
fn default_name(first: UserId, count: u32) -> String {
    if count == 1 { format!("user{first}") } else { "user".to_owned() }
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
    note(&format!("lc: no daemon is running; signed with {}", secret_path.display()));
    Ok(Tokens { tokens })
}

fn sign(request: &TokenRequest, secret_path: &Path, now: Duration) -> anyhow::Result<Vec<String>> {
    let secret = std::fs::read(secret_path)
        .with_context(|| format!("cannot read the signing secret {}", secret_path.display()))?;
    let lifetime = Duration::from_millis(request.ttl_ms);
    let token = |user: TokenUser| {
        let mut claims = Claims::new(user.user_id, &user.name, now, lifetime);
        claims.role = request.role;
        claims.comments_per_minute = request.comments_per_minute;
        mint(secret_of(&secret), &claims)
    };
    Ok(request.users()?.into_iter().map(token).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    #[test]
    fn default_names_have_the_id_once() {
        assert_eq!(default_name(UserId(42), 1), "user42");
        let dir = tempfile::tempdir().unwrap();
        let secret_path = dir.path().join(SIGNING_SECRET);
        std::fs::write(&secret_path, b"0123456789abcdef0123456789abcdef").unwrap();
        let request = TokenRequest {
            user_id: UserId(42),
            name: default_name(UserId(42), 2),
            role: Role::Viewer,
            ttl_ms: 60_000,
            comments_per_minute: None,
            count: 2,
        };
        let tokens = sign(&request, &secret_path, Duration::from_millis(now_ms())).unwrap();
        let key = DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let names: Vec<_> = tokens
            .iter()
            .map(|token| decode::<Claims>(token, &key, &Validation::default()).unwrap().claims.name)
            .collect();
        assert_eq!(names, ["user42", "user43"]);
    }

    /// The daemon refuses the same requests, and would refuse such tokens.
    #[test]
    fn no_token_is_signed_that_no_daemon_takes() {
        let dir = tempfile::tempdir().unwrap();
        let secret_path = dir.path().join(SIGNING_SECRET);
        std::fs::write(&secret_path, b"0123456789abcdef0123456789abcdef").unwrap();
        let request = |user_id, name: &str, count| TokenRequest {
            user_id: UserId(user_id),
            name: name.into(),
            role: Role::Viewer,
            ttl_ms: 60_000,
            comments_per_minute: None,
            count,
        };
        let now = Duration::from_millis(now_ms());
        let last = i64::MAX as u64;
        for (user_id, name, count, field) in [
            (last, "ann", 2, "`user_id`"),
            (1, "\u{200B}", 1, "`name`"),
            (1, "a\u{1B}[2Jb", 1, "`name`"),
            (1, &*"x".repeat(64), 2, "`name`"),
        ] {
            let error = sign(&request(user_id, name, count), &secret_path, now).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let tokens = sign(&request(last, " ann\u{200B} ", 1), &secret_path, now).unwrap();
        let key = DecodingKey::from_secret(b"0123456789abcdef0123456789abcdef");
        let claims = decode::<Claims>(&tokens[0], &key, &Validation::default()).unwrap().claims;
        assert_eq!((claims.sub, claims.name), (last.to_string(), "ann".to_owned()));
    }

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
