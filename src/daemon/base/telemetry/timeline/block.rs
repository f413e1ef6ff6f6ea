//! Ten seconds of a timeline as bytes, so that other nodes can answer for the node that keeps it.

use serde::{Deserialize, Serialize};

use super::series::{COARSE_S, COARSE_VALUES, SeriesSet};
use super::{ENGINE, MAX_ENGINE_SERIES, MAX_NODES, MAX_STREAMS, NODE, STREAM, Timeline, ring_of};
use crate::protocol::{NodeId, StreamId};

/// Seconds of one block.
pub const BLOCK_S: u64 = COARSE_S;
/// Blocks of an hour.
pub const BLOCKS: u64 = COARSE_VALUES as u64;

/// The codes of average and peak of each series.
type Codes = Vec<(u16, u16)>;

/// The wire format: nodes of two releases run side by side during an upgrade.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct TimelineBlock {
    /// Begins this many blocks after the Unix epoch.
    interval: u64,
    /// By name, because releases may have different series.
    cluster: Vec<(String, u16, u16)>,
    streams: Vec<(StreamId, Codes)>,
    nodes: Vec<(NodeId, Codes)>,
    engines: Vec<(String, u16)>,
}

/// The bytes are no block.
#[derive(Debug, thiserror::Error)]
#[error("a block of the timeline is not understood: {0}")]
pub struct BadBlock(#[from] rmp_serde::decode::Error);

impl Timeline {
    /// Returns the block of an interval; `None` if it is not over or not known.
    pub fn block(&self, interval: u64) -> Option<Vec<u8>> {
        let rings = self.rings.lock();
        let cluster = rings.cluster.coarse(interval)?;
        let cluster = rings.names.iter().cloned().zip(cluster);
        let block = TimelineBlock {
            interval,
            cluster: cluster.map(|(name, (average, peak))| (name, average, peak)).collect(),
            streams: known(interval, rings.streams.iter()),
            nodes: known(interval, rings.nodes.iter()),
            engines: known(interval, rings.engines.iter())
                .into_iter()
                .filter_map(|(name, codes)| Some((name, codes.first()?.0)))
                .collect(),
        };
        drop(rings);
        Some(rmp_serde::to_vec_named(&block).expect("names and numbers are always encoded"))
    }

    /// Adds a block that another node has made. Blocks must come in the order of their intervals;
    /// one that is not after everything known is ignored.
    ///
    /// # Errors
    /// The bytes are no block.
    pub fn add_block(&self, bytes: &[u8]) -> Result<(), BadBlock> {
        let TimelineBlock { interval, cluster, streams, nodes, engines } =
            rmp_serde::from_slice(bytes)?;
        let mut rings = self.rings.lock();
        let code = |name: &String| {
            let found = cluster.iter().find(|(other, _, _)| other == name);
            found.map_or((0, 0), |(_, average, peak)| (*average, *peak))
        };
        let codes: Codes = rings.names.iter().map(code).collect();
        rings.cluster.add_coarse(interval, &codes);
        for (stream_id, codes) in streams {
            if let Some(ring) = ring_of(&mut rings.streams, &stream_id, MAX_STREAMS, STREAM) {
                ring.add_coarse(interval, &codes);
            }
        }
        for (node, codes) in nodes {
            if let Some(ring) = ring_of(&mut rings.nodes, &node, MAX_NODES, NODE) {
                ring.add_coarse(interval, &codes);
            }
        }
        for (name, code) in engines {
            if let Some(ring) = ring_of(&mut rings.engines, &name, MAX_ENGINE_SERIES, ENGINE) {
                ring.add_coarse(interval, &[(code, code)]);
            }
        }
        rings.sweep_if_due(interval * COARSE_S);
        Ok(())
    }

    /// Returns the interval after the last that is known.
    pub fn next_interval(&self) -> Option<u64> {
        self.rings.lock().cluster.last_s().map(|last| last / COARSE_S + 1)
    }
}

/// Returns the codes of the subjects that have a known value in the interval.
fn known<'a, Name: Clone + 'a>(
    interval: u64,
    sets: impl Iterator<Item = (&'a Name, &'a SeriesSet)>,
) -> Vec<(Name, Codes)> {
    let codes = |(name, set): (&'a Name, &'a SeriesSet)| {
        let codes = set.coarse(interval)?;
        codes.iter().any(|(average, _)| *average != 0).then(|| (name.clone(), codes))
    };
    sets.filter_map(codes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::telemetry::timeline::{TimelineFrame, TimelineRequest};

    fn frame(second: u64) -> TimelineFrame {
        let activity = [Some(10.0), Some(2.0), Some(1.0), Some(1.0), Some(0.5), Some(1.0)];
        TimelineFrame {
            second,
            cluster: [("received".to_owned(), (second % 10) as f64)].into_iter().collect(),
            streams: vec![(StreamId(7), activity)],
            nodes: vec![(NodeId::new("edge-1"), [Some(3.0); 8])],
            engines: vec![("lag/archiver".to_owned(), 14_000.0)],
        }
    }

    #[test]
    fn blocks_carry_all_series_to_another_node() {
        let keeper = Timeline::default();
        (1_000..1_035).for_each(|second| keeper.add(&frame(second)));
        assert!(keeper.block(103).is_none(), "it is not over");
        let reader = Timeline::default();
        assert_eq!(reader.next_interval(), None);
        for interval in 100..103 {
            reader.add_block(&keeper.block(interval).unwrap()).unwrap();
        }
        assert_eq!(reader.next_interval(), Some(103));
        let series = vec!["*".to_owned()];
        let request = TimelineRequest { series, from_s: 1_000, step_s: 10, steps: 3 };
        let read = reader.read(&request).unwrap();
        assert_eq!(read, keeper.read(&request).unwrap());
        let received = read.iter().find(|series| series.name == "received").unwrap();
        assert!((received.average[1].unwrap() - 4.5).abs() < 0.01);
        assert!((received.peak[1].unwrap() - 9.0).abs() < 0.01);
        // A block that comes again changes nothing.
        reader.add_block(&keeper.block(101).unwrap()).unwrap();
        assert_eq!(reader.read(&request).unwrap(), read);
        assert!(reader.add_block(b"nonsense").is_err());
    }

    #[test]
    fn a_block_of_one_stream_is_small() {
        let keeper = Timeline::default();
        (1_000..1_011).for_each(|second| keeper.add(&frame(second)));
        let bytes = keeper.block(100).unwrap().len();
        assert!(bytes < 2_048, "{bytes} bytes");
    }
}
