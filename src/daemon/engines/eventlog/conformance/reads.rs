//! Reading by position.

use super::{Harness, TOPIC, append, end_of, names, numbered, read_key, record, texts};
use crate::daemon::engines::eventlog::Page;

pub(crate) async fn read_returns_only_records_of_its_key(harness: &mut impl Harness) {
    let log = harness.log();
    for round in 0..10 {
        let batch = (0..20).flat_map(|key| numbered(key, round * 2, 2)).collect();
        append(&log, batch).await;
    }
    for key in 0..20 {
        let records = read_key(&log, key, 1000).await;
        assert!(records.iter().all(|record| record.key == key));
        assert_eq!(texts(&records), names(&numbered(key, 0, 20)));
    }
    assert_eq!(read_key(&log, 77, 1000).await, []);
}

pub(crate) async fn pages_join_without_gap_or_repeat(harness: &mut impl Harness) {
    let log = harness.log();
    for round in 0..20 {
        append(&log, [numbered(1, round * 10, 10), numbered(2, round * 10, 10)].concat()).await;
    }
    for page_records in [1, 3, 10, 1000] {
        let records = read_key(&log, 1, page_records).await;
        assert_eq!(texts(&records), names(&numbered(1, 0, 200)));
    }
    // A page from any offset holds the records from that offset on.
    let all = read_key(&log, 1, 1000).await;
    for from in (0..200).step_by(17) {
        let page = log.read(TOPIC, 1, all[from].position.offset, 5).await.unwrap();
        assert!(page.records.len() <= 5 && all[from..].starts_with(&page.records));
        let below = all
            .iter()
            .filter(|r| (all[from].position.offset..page.next_offset).contains(&r.position.offset));
        assert_eq!(below.count(), page.records.len(), "all below next_offset are in the page");
    }
}

pub(crate) async fn read_of_a_partition_returns_all_keys(harness: &mut impl Harness) {
    let log = harness.log();
    let batch: Vec<_> = (0..50).map(|key| record(key, &format!("{key}"))).collect();
    append(&log, batch.clone()).await;
    let mut found = Vec::new();
    for partition in 0..log.partitions(TOPIC) {
        let mut offset = log.bounds(TOPIC, partition).await.unwrap().earliest;
        loop {
            let page = log.read_partition(TOPIC, partition, offset, 7).await.unwrap();
            assert!(page.records.iter().all(|r| log.partition_of(TOPIC, r.key) == partition));
            found.extend(page.records.into_iter().map(|r| r.key));
            if page.at_end {
                break;
            }
            offset = page.next_offset;
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

pub(crate) async fn read_at_the_end_reports_it(harness: &mut impl Harness) {
    let log = harness.log();
    let end = end_of(&log, 1).await.end;
    let empty = |next_offset| Page { records: Vec::new(), next_offset, at_end: true };
    assert_eq!(log.read(TOPIC, 1, end, 10).await.unwrap(), empty(end));
    append(&log, numbered(1, 0, 3)).await;
    let end = end_of(&log, 1).await.end;
    assert_eq!(log.read(TOPIC, 1, end, 10).await.unwrap(), empty(end));
}

pub(crate) async fn bounds_follow_appends(harness: &mut impl Harness) {
    let log = harness.log();
    let before = end_of(&log, 1).await;
    let positions = append(&log, numbered(1, 0, 10)).await;
    let after = end_of(&log, 1).await;
    assert_eq!(after.earliest, before.earliest);
    assert!(positions.iter().all(|p| (before.end..after.end).contains(&p.offset)));
}
