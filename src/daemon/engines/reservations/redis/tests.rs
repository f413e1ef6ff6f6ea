use super::*;
use crate::daemon::base::config::RedisConfig;
use crate::daemon::engines::reservations::ClaimKey;
use crate::daemon::testing::redis_server::RedisServer;
use crate::daemon::testing::stack;
use crate::protocol::{StreamId, UserId};

const LIFETIME: Duration = Duration::from_secs(60);

fn node(urls: Vec<String>, prefix: &str, lifetime: Duration) -> RedisReservations {
    let prefix = prefix.to_owned();
    let config = RedisConfig { nodes: urls, prefix, ..RedisConfig::default() };
    RedisReservations::new(RedisNodes::open(&config).unwrap(), lifetime)
}

fn proposal(user: u64, client_ref: &str) -> Proposal {
    let ticks = u64::from(rand::random::<u32>());
    Proposal {
        user_id: UserId(user),
        stream_id: StreamId(1),
        client_ref: client_ref.into(),
        comment_id: CommentId::from_unix_ticks(ticks, 1, rand::random()),
    }
}

fn ids(proposals: &[Proposal]) -> Vec<CommentId> {
    proposals.iter().map(|proposal| proposal.comment_id).collect()
}

async fn reserved(node: &RedisReservations, proposals: Vec<Proposal>) -> Vec<CommentId> {
    node.reserve(proposals).await.into_iter().map(|one| one.comment_id).collect()
}

/// A node of a cluster in which repeats are close together, so that tests do not wait long.
fn quick_node(server: &RedisServer) -> RedisReservations {
    let max_apart = Duration::from_secs(3);
    RedisReservations { max_apart, ..node(vec![server.url()], "", LIFETIME) }
}

async fn is_certain(node: &RedisReservations) -> bool {
    let user = rand::random::<u32>().into();
    node.reserve(vec![proposal(user, "r")]).await[0].certain
}

async fn becomes(node: &RedisReservations, expected: bool) {
    let waiting = async {
        while is_certain(node).await != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("{expected}"));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_or_reset_server_is_not_certain() {
    let state = |run_id: &str, evicted_keys| ServerState {
        run_id: run_id.to_owned(),
        uptime: Duration::from_secs(3600),
        evicted_keys,
    };
    let max_apart = Duration::from_secs(60);
    let mut known = KnownServer::default();
    for (told, is_certain) in [
        (state("primary", 0), true),
        (state("primary", 0), true),
        (state("replica", 0), false),
        (state("replica", 0), true),
        (state("replica", 5), false),
        (state("replica", 5), true),
        (state("replica", 3), false),
        (state("replica", 3), true),
    ] {
        known.record_state(told.clone(), max_apart);
        assert_eq!(known.is_certain(), is_certain, "{told:?}");
        tokio::time::advance(max_apart).await;
    }
}

#[tokio::test]
#[ignore = "starts redis-server"]
async fn a_server_that_forgot_is_not_certain() {
    let mut server = RedisServer::start().await;
    let node = quick_node(&server);
    let first = proposal(1, "r");
    let all = node.reserve(vec![first.clone()]).await;
    assert!(!all[0].certain, "it may have been flushed just now");
    let again = node.reserve(vec![proposal(1, "r")]).await;
    assert_eq!(again, [Reserved { comment_id: first.comment_id, certain: true }]);
    becomes(&node, true).await;
    let _: () = server.ask(&mut redis::cmd("FLUSHALL")).await;
    assert!(!is_certain(&node).await, "flushed");
    becomes(&node, true).await;

    // A snapshot holds the date, and not what was reserved after it.
    server.save().await;
    node.reserve(vec![proposal(3, "r")]).await;
    server.kill();
    server.start_again().await;
    let newcomer = quick_node(&server);
    assert!(!newcomer.reserve(vec![proposal(3, "r")]).await[0].certain, "restored");
    assert!(!is_certain(&node).await, "restored, for a node that knew it before");
    becomes(&newcomer, true).await;
    evict_some_keys(&server).await;
    let told = async {
        while evicted_keys(&newcomer) == 0 {
            is_certain(&newcomer).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), told).await.expect("the server says so");
    assert!(!is_certain(&newcomer).await, "any reservation may be gone");
}

/// Fills the memory of a server, and lets it have a little less.
async fn evict_some_keys(server: &RedisServer) {
    let fill =
        "for i = 1, 2000 do redis.call('SET', 'junk' .. i, string.rep('x', 5000)) end return 1";
    let _: i64 = server.ask(redis::cmd("EVAL").arg(fill).arg(0)).await;
    let info: String = server.ask(redis::cmd("INFO").arg("memory")).await;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let used: u64 = used.trim().parse().unwrap();
    let limit = (used - 1_000_000).to_string();
    for (name, value) in [("maxmemory-policy", "allkeys-random"), ("maxmemory", limit.as_str())] {
        let _: () = server.ask(redis::cmd("CONFIG").arg("SET").arg(name).arg(value)).await;
    }
}

/// Returns how many keys the server said it has evicted.
fn evicted_keys(node: &RedisReservations) -> u64 {
    let known = node.known.lock();
    known[0].state.as_ref().map_or(0, |(state, _)| state.evicted_keys)
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn the_first_node_to_reserve_names_the_comment() {
    let prefix = format!("{}:", stack::unique("refs"));
    let a = node(stack::redis(), &prefix, LIFETIME);
    let b = node(stack::redis(), &prefix, LIFETIME);
    let first: Vec<_> = (1..=100).map(|user| proposal(user, "r")).collect();
    assert_eq!(reserved(&a, first.clone()).await, ids(&first));
    let again: Vec<_> = (1..=100).map(|user| proposal(user, "r")).collect();
    assert_eq!(reserved(&b, again).await, ids(&first));
    let others: Vec<_> = (1..=100).map(|user| proposal(user, "another")).collect();
    assert_eq!(reserved(&b, others.clone()).await, ids(&others));
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_reservation_ends_with_its_lifetime() {
    let prefix = format!("{}:", stack::unique("refs"));
    let node = node(stack::redis(), &prefix, Duration::from_millis(50));
    let first = proposal(1, "r");
    node.reserve(vec![first.clone()]).await;
    let free_again = async {
        while reserved(&node, vec![proposal(1, "r")]).await == [first.comment_id] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), free_again).await.expect("it expires");
}

#[tokio::test]
async fn without_redis_the_proposed_ids_are_used() {
    // Accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let node = node(vec![url], "", LIFETIME);
    let began = Instant::now();
    for n in 0..20 {
        let proposed = vec![proposal(n, "r")];
        let all = node.reserve(proposed.clone()).await;
        assert!(all.iter().all(|one| !one.certain), "another node may hold it");
        assert_eq!(all.iter().map(|one| one.comment_id).collect::<Vec<_>>(), ids(&proposed));
    }
    assert!(began.elapsed() < 4 * TIMEOUT, "only the first waits");
}

fn claim(user: u64, ticks: u64, for_ms: u64) -> Claim {
    Claim {
        key: ClaimKey::Turn { stream_id: StreamId(1), user_id: UserId(user) },
        also_met: None,
        comment_id: CommentId::from_unix_ticks(ticks, 1, [3; 6]),
        for_ms,
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_claim_belongs_to_the_first_comment() {
    let prefix = format!("{}:", stack::unique("claims"));
    let a = node(stack::redis(), &prefix, LIFETIME);
    let b = node(stack::redis(), &prefix, LIFETIME);
    let first = claim(7, 1_000, 60_000);
    let of = |author| ClaimKey::Text { stream_id: StreamId(1), hash: 9, author };
    let text = Claim { key: of(None), ..first };
    assert_eq!(a.claim(vec![first, text]).await, [Claimed::Free; 2]);
    assert_eq!(b.claim(vec![first, text]).await, [Claimed::Free; 2], "a repeat of the comment");
    let hidden = Claim { key: of(Some(UserId(9))), ..claim(9, 4_000, 60_000) };
    assert_eq!(b.claim(vec![hidden]).await, [Claimed::Free], "only its author sees it");
    let second = claim(7, 2_000, 60_000);
    let answers = b.claim(vec![claim(8, 3_000, 60_000), second]).await;
    assert_eq!(answers[0], Claimed::Free, "another user");
    let Claimed::Taken { wait_ms } = answers[1] else { panic!("{answers:?}") };
    assert!((50_000..=60_000).contains(&wait_ms), "{wait_ms}");
    assert_eq!(b.claim(vec![claim(7, 2_000, 5_000)]).await, [Claimed::Free], "another time");
    b.release(vec![second]).await;
    assert!(matches!(b.claim(vec![second]).await[0], Claimed::Taken { .. }), "not its own");
    a.release(vec![first]).await;
    assert_eq!(b.claim(vec![second]).await, [Claimed::Free]);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_claim_heeds_a_place_without_taking_it() {
    let prefix = format!("{}:", stack::unique("claims"));
    let a = node(stack::redis(), &prefix, LIFETIME);
    let b = node(stack::redis(), &prefix, LIFETIME);
    // Over all Redis nodes: both places of a text are on the same one.
    for hash in 0..20 {
        let said = |user, ticks, author, also| Claim {
            key: ClaimKey::Text { stream_id: StreamId(1), hash, author },
            also_met: Some(ClaimKey::Text { stream_id: StreamId(1), hash, author: also }),
            ..claim(user, ticks, 60_000)
        };
        let shown = |user, ticks| said(user, ticks, None, Some(UserId(user)));
        let hidden = |user, ticks| said(user, ticks, Some(UserId(user)), None);
        let is_taken = async |node: &RedisReservations, claim| {
            let answer = node.claim(vec![claim]).await[0];
            assert_ne!(answer, Claimed::Unknown);
            answer != Claimed::Free
        };
        assert!(!is_taken(&a, hidden(7, 1_000)).await);
        assert!(!is_taken(&b, hidden(8, 2_000)).await, "each sees only their own");
        assert!(is_taken(&b, shown(7, 3_000)).await, "its author sees the hidden one");
        b.release(vec![shown(7, 3_000)]).await;
        assert!(!is_taken(&b, shown(9, 4_000)).await, "nobody else does");
        assert!(!is_taken(&a, shown(9, 4_000)).await, "a repeat of the comment");
        assert!(is_taken(&a, hidden(6, 5_000)).await, "everybody sees the shown one");
        a.release(vec![hidden(6, 5_000)]).await;
        b.release(vec![shown(9, 4_000)]).await;
        assert!(!is_taken(&a, hidden(6, 6_000)).await, "neither place was taken before");
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_claim_ends_with_its_time() {
    let prefix = format!("{}:", stack::unique("claims"));
    let node = node(stack::redis(), &prefix, LIFETIME);
    assert_eq!(node.claim(vec![claim(7, 1_000, 200)]).await, [Claimed::Free]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(node.claim(vec![claim(7, 2_000, 200)]).await, [Claimed::Free]);
}
