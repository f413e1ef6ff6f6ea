//! Tables that are lost while the engine is open.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Keyspace, session};
use crate::daemon::engines::comments::conformance::{EPOCH, comment, comment_id, shown};
use crate::daemon::engines::comments::{ArchiveBatch, Archived, CommentKey, CommentStore as _};
use crate::daemon::engines::eventlog::Position;
use crate::protocol::{Epoch, StreamId};

const STREAM: StreamId = StreamId(7);

fn key(number: u64) -> CommentKey {
    CommentKey { stream_id: STREAM, comment_id: comment_id(number) }
}

fn batch(epoch: Epoch, numbers: std::ops::Range<u64>) -> ArchiveBatch {
    let newest = Some(key(numbers.end - 1));
    let next = Position { partition: 0, offset: numbers.end };
    ArchiveBatch {
        comments: numbers.map(|number| comment(STREAM, number)).collect(),
        archived: vec![Archived { next, newest, rewound: false }],
        ..ArchiveBatch::new(epoch)
    }
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_keyspace_made_again_is_noticed_and_filled() {
    let keyspace = Keyspace::new();
    let store = keyspace.open(Duration::ZERO).await;
    // An earlier log, so that the number of this one is not the first.
    store.write(&batch(Epoch(99), 500..510)).await.unwrap();
    store.write(&batch(EPOCH, 0..10)).await.unwrap();
    let known = BTreeMap::from([(0, key(9))]);
    assert_eq!(store.positions(EPOCH, &known).await.unwrap().next.len(), 1);

    for made_by_another in [true, false] {
        let drop = format!("DROP KEYSPACE \"{}\"", keyspace.name);
        session().await.query_unpaged(drop, ()).await.unwrap();
        if made_by_another {
            std::mem::drop(keyspace.open(Duration::ZERO).await);
        }
        // Written before anybody noticed.
        store.write(&batch(EPOCH, 10..20)).await.unwrap();
        let positions = store.positions(EPOCH, &known).await.unwrap();
        assert_eq!(positions.next, [], "the store has lost what was before");
        let rewound = Position { partition: 0, offset: 0 };
        let rewound = Archived { next: rewound, newest: None, rewound: true };
        let rewound = ArchiveBatch { archived: vec![rewound], ..ArchiveBatch::new(EPOCH) };
        store.write(&rewound).await.unwrap();
        store.write(&batch(EPOCH, 0..20)).await.unwrap();
        store.write(&batch(EPOCH, 20..30)).await.unwrap();

        let positions = store.positions(EPOCH, &known).await.unwrap();
        assert_eq!(positions.next, [Position { partition: 0, offset: 30 }]);
        // Read by another process, which knows only what the tables say.
        let reader = keyspace.open(Duration::ZERO).await;
        assert_eq!(shown(&reader, STREAM).await, 30);
        let page = reader.page(STREAM, None, 100).await.unwrap();
        let seqs: Vec<_> = page.iter().map(|comment| comment.seq).collect();
        assert_eq!(seqs, (0..30).rev().collect::<Vec<_>>());
        assert!(reader.get(comment_id(3)).await.unwrap().is_some());
    }
}
