//! The engine on a real server.

use crate::daemon::engines::backends::postgres::PostgresServer;
use crate::daemon::engines::backends::postgres::test_schema::TestSchema;
use crate::daemon::engines::metadata::conformance::{self, audit};
use crate::daemon::engines::metadata::postgres::PostgresMetadata;
use crate::daemon::engines::metadata::{MetadataStore as _, UserRecord};
use crate::protocol::UserId;
use crate::protocol::admin::{Sanction, SanctionKind};
use crate::protocol::stream::NewStream;
use crate::protocol::throttle::{FixedRate, SampleRate};

async fn open_in(schema: &TestSchema) -> PostgresMetadata {
    let server = PostgresServer::connect(&schema.config).await.unwrap();
    PostgresMetadata::open(&server).await.unwrap()
}

async fn open() -> (PostgresMetadata, TestSchema) {
    let schema = TestSchema::new();
    (open_in(&schema).await, schema)
}

conformance::metadata_suite!(
    #[ignore = "needs scripts/stack up"]
    open()
);

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn entries_about_a_target_have_an_index() {
    let (_store, schema) = open().await;
    // Reads only the definitions of this table's indexes: an index of another schema may be dropped
    // meanwhile, which fails the query.
    let indexes = "WITH own AS MATERIALIZED (
            SELECT indexrelid FROM pg_index WHERE indrelid = 'audit'::regclass
        )
        SELECT count(*) FROM own
        WHERE pg_get_indexdef(indexrelid) LIKE '%(target, audit_id)'";
    assert_eq!(schema.query_integer(indexes).await, 1);
}

fn ban(user_id: u64) -> Sanction {
    Sanction {
        user_id: UserId(user_id),
        kind: SanctionKind::Ban,
        stream_id: None,
        name: None,
        reason: Some("spam".to_owned()),
        created_by: "ann".to_owned(),
        created_at: 5,
        expires_at: None,
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn everything_is_visible_to_another_node() {
    let (store, schema) = open().await;
    let (_, stream) =
        store.create_stream(NewStream::default(), audit(1, "create_stream")).await.unwrap();
    let rate = SampleRate::from_share(0.5).unwrap();
    let half = FixedRate { rate, until_ms: Some(9_000) };
    let throttle = audit(3, "throttle");
    store.set_throttle_override(stream.stream_id, Some(half), throttle).await.unwrap();
    store.sanction(ban(42), audit(5, "ban")).await.unwrap();
    let user = UserRecord {
        user_id: UserId(42),
        name: "bob".into(),
        seen_at: 4,
        account_created: Some(3),
    };
    store.remember_users(std::slice::from_ref(&user)).await.unwrap();
    let other = open_in(&schema).await;
    assert_eq!(other.streams().await.unwrap(), std::slice::from_ref(&stream));
    assert_eq!(other.throttle_overrides().await.unwrap(), [(stream.stream_id, half)]);
    assert_eq!(other.sanctions(6).await.unwrap(), [ban(42)]);
    assert_eq!(other.users_named("bob").await.unwrap(), [user]);
    assert_eq!(other.audit_log(10).await.unwrap(), store.audit_log(10).await.unwrap());
    other.ping().await.unwrap();
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn no_change_is_stored_without_its_audit_entry() {
    let (store, schema) = open().await;
    let before = conformance::prepare_changes(&store).await;
    schema.execute("ALTER TABLE audit RENAME TO gone").await.unwrap();
    conformance::assert_changes_fail(&store).await;
    schema.execute("ALTER TABLE gone RENAME TO audit").await.unwrap();
    assert_eq!(conformance::contents(&store).await, before);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn no_audit_entry_is_stored_without_its_event() {
    let (store, schema) = open().await;
    let before = conformance::prepare_changes(&store).await;
    schema.execute("ALTER TABLE pending_events RENAME TO gone").await.unwrap();
    conformance::assert_changes_with_events_fail(&store).await;
    schema.execute("ALTER TABLE gone RENAME TO pending_events").await.unwrap();
    assert_eq!(conformance::contents(&store).await, before);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_batch_is_queued_whole_or_not_at_all() {
    let (store, schema) = open().await;
    let refused = conformance::REFUSED;
    let refuse = format!("ALTER TABLE reviews ADD CHECK (message <> '{refused}')");
    schema.execute(&refuse).await.unwrap();
    conformance::assert_a_refused_batch_stores_nothing(&store).await;
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn late_votes_insert_nothing() {
    let (store, schema) = open().await;
    let poll = conformance::poll_with_votes(&store).await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$";
    schema.execute(refuse).await.unwrap();
    for table in ["poll_votes", "poll_totals"] {
        // Refuses also statements without rows.
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table}
             FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
        );
        schema.execute(&trigger).await.unwrap();
    }
    conformance::assert_late_votes_are_answered(&store, poll).await;
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn concurrent_streams_get_distinct_ids() {
    let schema = TestSchema::new();
    let (one, other) = tokio::join!(open_in(&schema), open_in(&schema));
    let create = |number: usize| {
        let store = if number.is_multiple_of(2) { &one } else { &other };
        store.create_stream(NewStream::default(), audit(1, "create_stream"))
    };
    let created = futures_util::future::join_all((0..60).map(create)).await;
    let mut ids: Vec<_> = created.into_iter().map(|made| made.unwrap().1.stream_id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn two_nodes_give_a_new_subject_one_id() {
    let schema = TestSchema::new();
    let (one, other) = tokio::join!(open_in(&schema), open_in(&schema));
    for round in 0..20 {
        let subject = conformance::subject("https://id.example", &format!("user-{round}"));
        let (first, second) =
            tokio::join!(one.id_of_subject(&subject, 1), other.id_of_subject(&subject, 1));
        assert_eq!(first.unwrap(), second.unwrap(), "{round}");
    }
    let count = schema.query_integer("SELECT count(*) FROM subjects").await;
    assert_eq!(count, 20);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn nodes_changing_the_same_rows_do_not_deadlock() {
    let schema = TestSchema::new();
    let (one, other) = tokio::join!(open_in(&schema), open_in(&schema));
    let users = |backwards: bool| {
        let mut users: Vec<_> = (1..=500)
            .map(|id| UserRecord {
                user_id: UserId(id),
                name: "ann".into(),
                seen_at: 1,
                account_created: None,
            })
            .collect();
        if backwards {
            users.reverse();
        }
        users
    };
    for round in 0..10 {
        let expiring = |user_id| Sanction { expires_at: Some(round + 1), ..ban(user_id) };
        let forwards = users(false);
        let backwards = users(true);
        let sanctions = (1..=8).map(|id| {
            let store = if id % 2 == 0 { &one } else { &other };
            store.sanction(expiring(id % 3), audit(round, "ban"))
        });
        let (first, second, sanctions) = tokio::join!(
            one.remember_users(&forwards),
            other.remember_users(&backwards),
            futures_util::future::join_all(sanctions),
        );
        first.unwrap();
        second.unwrap();
        assert!(sanctions.iter().all(Result::is_ok), "{sanctions:?}");
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn text_that_no_column_holds_is_still_stored() {
    let (store, _schema) = open().await;
    let user =
        UserRecord { user_id: UserId(1), name: "a\0b".into(), seen_at: 1, account_created: None };
    store.remember_users(&[user]).await.unwrap();
    let found = store.user(UserId(1)).await.unwrap().unwrap();
    assert_eq!(&*found.name, "a\u{FFFD}b");
    assert_eq!(store.users_named("a\0b").await.unwrap(), [found]);
}
