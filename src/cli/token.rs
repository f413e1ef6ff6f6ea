//! `lc token`: creates an access token, through the daemon or with the secret in its data
//! directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::arguments::{LONGEST_BAN, admin_role, duration_up_to, role, small_count_in, to_ms};
use super::context::Context;
use super::exit::UsageError;
use super::output::{note, now_ms, write};
use crate::client::admin::AdminError;
use crate::client::token::{Claims, mint, secret_of};
use crate::protocol::admin::{
    AdminClaims, AdminRole, AdminTokenRequest, GRANTED_ROLES, TokenRequest, TokenUser, Tokens,
};
use crate::protocol::paths::SIGNING_SECRET;
use crate::protocol::printable::printable;
use crate::protocol::quantity::parse_duration;
use crate::protocol::{Role, Standing, StreamId, UserId};

/// Create an access token
///
/// The daemon signs the token. If no daemon runs, it is signed with the secret in the data
/// directory. Only the token is printed, even in a pipe, so that `$(lc token --user 42)` works;
/// --json prints an object.
///
/// With --admin the token is for the admin API over the network (admin.listen): put it into a file
/// of your own and name that with lc ctx add --token-file. It lasts 30d at most.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// User id
    #[arg(long, value_name = "ID", required_unless_present = "admin")]
    user: Option<UserId>,
    /// Make a token for the admin API, with this role: viewer reads, moderator also acts on users
    /// and comments, operator does everything. --name is the name in the audit log
    #[arg(long, value_name = "ROLE", value_parser = admin_role(), requires = "name",
        conflicts_with_all = ["user", "role", "comments_per_minute", "count"])]
    admin: Option<AdminRole>,
    /// User name, 1 to 64 characters; with --count above 1 the id is added [default: "user" and
    /// the id]
    #[arg(long)]
    name: Option<String>,
    /// Role, which sets what the user may do
    #[arg(long, default_value = "viewer", value_parser = role())]
    role: Role,
    /// Role on one stream, beside --role: 7=moderator, or 7=broadcaster. Repeat it for more streams
    #[arg(long = "stream-role", value_name = "STREAM=ROLE", value_parser = stream_role,
        conflicts_with = "admin")]
    stream_roles: Vec<(StreamId, Role)>,
    /// Lifetime of the token
    #[arg(long = "for", value_name = "TIME", allow_hyphen_values = true,
        value_parser = duration_up_to(LONGEST_BAN), default_value = "24h")]
    lifetime: Duration,
    /// Comments per minute, 0 for no limit [default: the limit of the role]
    #[arg(long, value_name = "N", value_parser = small_count_in(0..=u32::MAX))]
    comments_per_minute: Option<u32>,
    /// Number of tokens, for consecutive user ids starting at ID; up to 10k
    #[arg(long, value_name = "N", default_value = "1", value_parser = small_count_in(1..=10_000))]
    count: u32,
    /// The user is a subscriber: see lc room STREAM subscribers
    #[arg(long, conflicts_with = "admin")]
    subscriber: bool,
    /// The user has followed for this time by now, such as 30d, or 0s: see lc room STREAM followers
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "admin")]
    follower_for: Option<Duration>,
    /// The account was created this long ago, such as 2h: moderation looks closer at new accounts.
    /// The claim is account_created, which the daemon reads unless auth.account_created_claim names
    /// another one
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "admin")]
    account_age: Option<Duration>,
}

pub(super) async fn run(
    args: TokenArgs,
    json: bool,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let tokens = match (args.admin, args.user) {
        (Some(role), _) => {
            let name = args.name.unwrap_or_default();
            let request = AdminTokenRequest { name, role, ttl_ms: to_ms(args.lifetime) };
            request.checked().map_err(|error| UsageError(error.to_string()))?;
            obtain("/v1/tokens/admin", &request, context, sign_admin).await?
        }
        (None, Some(user_id)) => {
            let request = TokenRequest {
                user_id,
                name: args.name.unwrap_or_else(|| default_name(user_id, args.count)),
                role: args.role,
                ttl_ms: to_ms(args.lifetime),
                comments_per_minute: args.comments_per_minute,
                count: args.count,
                standing: Standing {
                    subscriber: args.subscriber,
                    follower_since: args.follower_for.map(ms_before_now),
                    account_created: None,
                },
                account_created: args.account_age.map(ms_before_now),
                stream_roles: one_role_each(&args.stream_roles)?,
            };
            obtain("/v1/tokens", &request, context, sign).await?
        }
        (None, None) => return Err(UsageError("--user or --admin is needed".to_owned()).into()),
    };
    if json {
        context.output().item(&tokens, String::new)?;
    } else {
        let lines: Vec<_> = tokens.tokens.iter().map(|token| printable(token)).collect();
        write(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn stream_role(text: &str) -> Result<(StreamId, Role), String> {
    let expected = || "expected a stream and a role, such as 7=moderator".to_owned();
    let (stream, role) = text.split_once('=').ok_or_else(expected)?;
    let stream_id = stream.parse::<StreamId>().map_err(|error| error.to_string())?;
    let role = role.parse::<Role>().ok().filter(|role| GRANTED_ROLES.contains(role));
    let role = role.ok_or_else(|| "the role must be moderator or broadcaster".to_owned())?;
    Ok((stream_id, role))
}

fn one_role_each(roles: &[(StreamId, Role)]) -> Result<BTreeMap<StreamId, Role>, UsageError> {
    let mut streams = BTreeMap::new();
    for (stream_id, role) in roles {
        if streams.insert(*stream_id, *role).is_some() {
            return Err(UsageError(format!("--stream-role names stream {stream_id} twice")));
        }
    }
    Ok(streams)
}

/// Returns the time this long ago, in milliseconds since the Unix epoch.
fn ms_before_now(time: Duration) -> u64 {
    now_ms().saturating_sub(to_ms(time))
}

/// Returns the name that makes each user "user" and its own id: with several tokens the id is
/// added to the name.
fn default_name(first: UserId, count: u32) -> String {
    if count == 1 { format!("user{first}") } else { "user".to_owned() }
}

/// Signs the tokens of a request with a secret, issued at a Unix time.
type Sign<T> = fn(&T, &[u8], Duration) -> anyhow::Result<Vec<String>>;

/// Gets the tokens from the daemon, or signs them here if no daemon of this machine listens.
async fn obtain<T: Serialize>(
    path: &str,
    request: &T,
    context: &Context,
    sign: Sign<T>,
) -> anyhow::Result<Tokens> {
    let not_running = match context.admin().post(path, request).await {
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
    let secret = read_secret(&secret_path)?;
    let tokens = sign(request, secret_of(&secret), Duration::from_millis(now_ms()))?;
    note(&format!("lc: no daemon is running; signed with {}", secret_path.display()));
    Ok(Tokens { tokens })
}

fn read_secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path)
        .with_context(|| format!("cannot read the signing secret {}", path.display()))
}

fn sign_admin(
    request: &AdminTokenRequest,
    secret: &[u8],
    now: Duration,
) -> anyhow::Result<Vec<String>> {
    let AdminTokenRequest { name, role, ttl_ms } = request.checked()?;
    let claims = AdminClaims::new(&name, role, now, Duration::from_millis(ttl_ms));
    Ok(vec![mint(secret, &claims)])
}

fn sign(request: &TokenRequest, secret: &[u8], now: Duration) -> anyhow::Result<Vec<String>> {
    let lifetime = Duration::from_millis(request.ttl_ms);
    let token = |user: TokenUser| {
        let mut claims = Claims::new(user.user_id, &user.name, now, lifetime);
        claims.role = request.role;
        claims.comments_per_minute = request.comments_per_minute;
        claims.subscriber = request.standing.subscriber;
        claims.follower_since = request.standing.follower_since.map(|since_ms| since_ms / 1_000);
        claims.account_created = request.account_created.map(|ms| ms / 1_000);
        claims.streams.clone_from(&request.stream_roles);
        mint(secret, &claims)
    };
    Ok(request.users()?.into_iter().map(token).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_locally_signed_admin_token_has_its_audience() {
        let request =
            AdminTokenRequest { name: " ann ".into(), role: AdminRole::Moderator, ttl_ms: 60_000 };
        let now = Duration::from_millis(now_ms());
        let tokens = sign_admin(&request, SECRET, now).unwrap();
        let mut validation = Validation::default();
        validation.set_audience(&["lcd-admin"]);
        let key = DecodingKey::from_secret(SECRET);
        let claims = decode::<AdminClaims>(&tokens[0], &key, &validation).unwrap().claims;
        let lifetime = Duration::from_secs(60);
        assert_eq!(claims, AdminClaims::new("ann", AdminRole::Moderator, now, lifetime));
        let eternal = AdminTokenRequest { ttl_ms: u64::MAX, ..request };
        assert!(sign_admin(&eternal, SECRET, now).unwrap_err().to_string().contains("`ttl_ms`"));
    }

    #[test]
    fn default_names_have_the_id_once() {
        assert_eq!(default_name(UserId(42), 1), "user42");
        let request = TokenRequest {
            user_id: UserId(42),
            name: default_name(UserId(42), 2),
            role: Role::Viewer,
            ttl_ms: 60_000,
            comments_per_minute: None,
            count: 2,
            standing: Standing::default(),
            account_created: None,
            stream_roles: BTreeMap::new(),
        };
        let tokens = sign(&request, SECRET, Duration::from_millis(now_ms())).unwrap();
        let key = DecodingKey::from_secret(SECRET);
        let names: Vec<_> = tokens
            .iter()
            .map(|token| decode::<Claims>(token, &key, &Validation::default()).unwrap().claims.name)
            .collect();
        assert_eq!(names, ["user42", "user43"]);
    }

    /// The daemon refuses the same requests, and would refuse such tokens.
    #[test]
    fn no_token_is_signed_that_no_daemon_takes() {
        let request = |user_id, name: &str, count| TokenRequest {
            user_id: UserId(user_id),
            name: name.into(),
            role: Role::Viewer,
            ttl_ms: 60_000,
            comments_per_minute: None,
            count,
            standing: Standing::default(),
            account_created: None,
            stream_roles: BTreeMap::new(),
        };
        let now = Duration::from_millis(now_ms());
        let last = i64::MAX as u64;
        for (user_id, name, count, field) in [
            (last, "ann", 2, "`user_id`"),
            (1, "\u{200B}", 1, "`name`"),
            (1, "a\u{1B}[2Jb", 1, "`name`"),
            (1, &*"x".repeat(64), 2, "`name`"),
        ] {
            let error = sign(&request(user_id, name, count), SECRET, now).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let tokens = sign(&request(last, " ann\u{200B} ", 1), SECRET, now).unwrap();
        let key = DecodingKey::from_secret(SECRET);
        let claims = decode::<Claims>(&tokens[0], &key, &Validation::default()).unwrap().claims;
        assert_eq!((claims.sub, claims.name), (last.to_string(), "ann".to_owned()));
    }

    #[test]
    fn a_locally_signed_token_has_the_given_claims() {
        let request = TokenRequest {
            user_id: UserId(42),
            name: "ann".into(),
            role: Role::Moderator,
            ttl_ms: 90_500,
            comments_per_minute: Some(0),
            count: 2,
            standing: Standing {
                subscriber: true,
                follower_since: Some(1_700_000_000_500),
                account_created: None,
            },
            account_created: Some(1_600_000_000_500),
            stream_roles: BTreeMap::from([(StreamId(7), Role::Broadcaster)]),
        };
        let now = Duration::from_millis(now_ms());
        let tokens = sign(&request, SECRET, now).unwrap();
        let key = DecodingKey::from_secret(SECRET);
        let claims = decode::<Claims>(&tokens[1], &key, &Validation::default()).unwrap().claims;
        let mut expected = Claims::new(UserId(43), "ann43", now, Duration::from_millis(90_500));
        expected.role = Role::Moderator;
        expected.comments_per_minute = Some(0);
        expected.subscriber = true;
        expected.follower_since = Some(1_700_000_000);
        expected.account_created = Some(1_600_000_000);
        expected.streams = BTreeMap::from([(StreamId(7), Role::Broadcaster)]);
        assert_eq!(claims, expected);
        assert_eq!(tokens.len(), 2);
    }

    #[test]
    fn a_stream_has_one_role() {
        let moderator = (StreamId(7), Role::Moderator);
        assert_eq!(stream_role("7=moderator"), Ok(moderator));
        for bad in
            ["", "7", "7=", "=moderator", "x=moderator", "0=moderator", "7=admin", "7=viewer"]
        {
            assert!(stream_role(bad).is_err(), "{bad}");
        }
        let both = [moderator, (StreamId(8), Role::Broadcaster)];
        assert_eq!(one_role_each(&both).unwrap(), BTreeMap::from(both));
        let twice = one_role_each(&[moderator, (StreamId(7), Role::Broadcaster)]).unwrap_err();
        assert_eq!(twice.0, "--stream-role names stream 7 twice");
    }
}
