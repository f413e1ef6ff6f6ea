//! Filters: a text is refused at a place inside it, or means the same after it was printed.

use crate::protocol::NodeId;
use crate::protocol::admin::{Egress, Health, NodeRates, NodeStatus, ProcessStatus};
use crate::protocol::filter::{Columns as _, Filter, MAX_BYTES};

fn row() -> NodeStatus {
    NodeStatus {
        node: NodeId::new("edge-1"),
        roles: vec!["edge".into()],
        version: "0.1.0".into(),
        listen: "10.0.0.7:8080".into(),
        uptime_ms: 93_784_000,
        connections: 18_230,
        senders: 12,
        transports: Default::default(),
        max_connections: 20_000,
        draining: true,
        health: Health::Well,
        seen_ms: 0,
        partitions: [("coordinator".to_owned(), 50)].into(),
        egress: Egress::default(),
        process: ProcessStatus { cpu: Some(1.5), ..ProcessStatus::default() },
        rates: NodeRates::default(),
    }
}

/// Parses a filter with and without columns. An error lies inside of the text; what is parsed is
/// parsed again from its printed form, to the same filter with the same answer.
pub fn filter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let results = [Filter::parse(&text, NodeStatus::COLUMNS), text.parse()];
    let node = row();
    for result in results {
        let filter = match result {
            Ok(filter) => filter,
            Err(error) => {
                assert!(text.get(error.at.clone()).is_some(), "{error} at {:?}", error.at);
                continue;
            }
        };
        let printed = filter.to_string();
        if printed.len() > MAX_BYTES {
            // Spaces and quotation marks were added.
            continue;
        }
        let again: Filter = printed.parse().expect("a printed filter is a filter");
        assert_eq!(again, filter, "printed as {printed}");
        assert_eq!(again.matches(&node), filter.matches(&node), "{printed}");
    }
}
