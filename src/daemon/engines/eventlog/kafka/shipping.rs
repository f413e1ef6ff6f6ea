//! What is handed to the library at a time: never more of a partition than it may send at once.
//!
//! An idempotent producer sends nothing more of a partition while five of its messages are under way (it
//! counts messages, not requests). What waits for that in the library keeps its thread spinning from the
//! end of the linger on (`rd_kafka_msgq_allow_wakeup_at` wakes it at once, again and again): two edges at
//! 5 000 comments/s on two cores left the broker no time to answer, for seconds. So it waits here: what comes
//! while [`UNDER_WAY`] records are with the library goes with the next shipment, which makes one request.
//! Batches grow with the rate by themselves.
//!
//! Always holds: the records of a partition are handed over in the order of [`Shipper::add`].
//!
//! Bounded: by the budget of appends. When a shipment is not acknowledged in time, what waits behind it
//! is refused with it rather than made to wait as long again.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use ahash::AHashMap;
use parking_lot::{Mutex, MutexGuard};
use rdkafka::producer::BaseProducer;

use super::delivery::{Batch, Deliveries, Ticket};
use super::partitioner::key_bytes;
use super::producer::{refuse, to_record};
use super::topics::Topics;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};

/// Records of a partition that may be with the library when more are handed over: one less than the
/// messages it lets be under way (`RD_KAFKA_IDEMP_MAX_INFLIGHT`).
const UNDER_WAY: usize = 4;
/// What makes one request: less than the library's `batch.size` (1 MB) and `batch.num.messages` (10 000).
const SHIPMENT_BYTES: usize = 512 << 10;
const SHIPMENT_RECORDS: usize = 5000;

/// A record and the append it belongs to.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) new: NewRecord,
    pub(super) batch: Arc<Batch>,
    pub(super) index: u32,
}

impl Parcel {
    fn fail(self, error: &LogError) {
        self.batch.settle(self.index, Err(error.clone()));
    }
}

type Place = (Topic, u32);

pub(super) struct Shipper {
    client: Arc<BaseProducer<Deliveries>>,
    topics: Arc<Topics>,
    /// By partition.
    lines: Mutex<AHashMap<Place, Line>>,
}

/// What goes to one partition.
#[derive(Debug, Default)]
struct Line {
    /// Records with the library.
    under_way: usize,
    waiting: VecDeque<Parcel>,
}

/// Records of one partition that are with the library, for as long as their tickets.
pub(super) struct Shipment {
    shipper: Weak<Shipper>,
    place: Place,
    records: usize,
    failure: Mutex<Option<LogError>>,
}

impl std::fmt::Debug for Shipment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipment").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Shipment {
    /// The brokers did not acknowledge one of its records.
    pub(super) fn fail(&self, error: LogError) {
        *self.failure.lock() = Some(error);
    }
}

impl Drop for Shipment {
    fn drop(&mut self) {
        let Some(shipper) = self.shipper.upgrade() else { return };
        let failure = self.failure.get_mut().take();
        shipper.arrived(self.place, self.records, failure);
    }
}

impl Shipper {
    pub(super) fn new(client: Arc<BaseProducer<Deliveries>>, topics: Arc<Topics>) -> Arc<Self> {
        Arc::new(Self { client, topics, lines: Mutex::default() })
    }

    /// Takes records in, which are on their way from here on.
    pub(super) fn add(self: &Arc<Self>, topic: Topic, parcels: impl Iterator<Item = Parcel>) {
        let mut lines = self.lock();
        let mut places = Vec::new();
        for parcel in parcels {
            let place = (topic, self.topics.partition_of(topic, parcel.new.key));
            lines.entry(place).or_default().waiting.push_back(parcel);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let sent: Vec<_> =
            places.into_iter().filter_map(|place| self.send_due(&mut lines, place)).collect();
        drop(lines);
        // What the library refused arrives here at once, which takes the lock.
        drop(sent);
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().values().all(|line| line.under_way == 0 && line.waiting.is_empty())
    }

    fn arrived(self: &Arc<Self>, place: Place, records: usize, failure: Option<LogError>) {
        let mut lines = self.lock();
        let line = lines.entry(place).or_default();
        line.under_way -= records;
        let refused =
            if failure.is_some() { std::mem::take(&mut line.waiting) } else { VecDeque::new() };
        let sent = self.send_due(&mut lines, place);
        drop(lines);
        drop(sent);
        let Some(error) = failure else { return };
        for parcel in refused {
            parcel.fail(&error);
        }
    }

    /// Hands over what is due. What comes back must be dropped without the lock.
    fn send_due(
        self: &Arc<Self>,
        lines: &mut AHashMap<Place, Line>,
        place: Place,
    ) -> Option<Arc<Shipment>> {
        let parcels = lines.entry(place).or_default().next()?;
        let (shipper, records, failure) = (Arc::downgrade(self), parcels.len(), Mutex::default());
        let shipment = Arc::new(Shipment { shipper, place, records, failure });
        for parcel in parcels {
            self.send(place, parcel, &shipment);
        }
        Some(shipment)
    }

    fn send(&self, (topic, partition): Place, parcel: Parcel, shipment: &Arc<Shipment>) {
        let Parcel { new, batch, index } = parcel;
        let (name, key) = (self.topics.name(topic), key_bytes(new.key));
        let ticket = Box::new(Ticket { batch, index, shipment: Some(shipment.clone()) });
        let record = to_record(name, partition, &key, &new, ticket);
        if let Err((error, record)) = self.client.send(record) {
            refuse(&record.delivery_opaque, &new, name, &error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, AHashMap<Place, Line>> {
        // Every change leaves the lines whole.
        self.lines.lock()
    }
}

impl Line {
    /// The next shipment, if it is due.
    fn next(&mut self) -> Option<Vec<Parcel>> {
        if self.under_way > UNDER_WAY || self.waiting.is_empty() {
            return None;
        }
        let (mut taken, mut bytes) = (0, 0);
        for parcel in self.waiting.iter().take(SHIPMENT_RECORDS) {
            bytes += parcel.new.payload.len();
            if taken > 0 && bytes > SHIPMENT_BYTES {
                break;
            }
            taken += 1;
        }
        self.under_way += taken;
        Some(self.waiting.drain(..taken).collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::daemon::engines::eventlog::kafka::delivery::Budget;

    fn parcel(index: u32, bytes: usize) -> Parcel {
        let new = NewRecord { key: 1, timestamp_ms: 1, payload: Bytes::from(vec![0; bytes]) };
        let reserved = Budget::new(1 << 30).reserve(std::slice::from_ref(&new)).unwrap();
        let (batch, _) = Batch::new("t", 1, reserved);
        Parcel { new, batch, index }
    }

    fn push(line: &mut Line, indices: std::ops::Range<u32>, bytes: usize) {
        line.waiting.extend(indices.map(|index| parcel(index, bytes)));
    }

    fn next(line: &mut Line) -> Option<Vec<u32>> {
        Some(line.next()?.iter().map(|parcel| parcel.index).collect())
    }

    #[test]
    fn single_records_leave_at_once_and_many_wait_for_what_is_under_way() {
        let mut line = Line::default();
        for index in 0..5 {
            push(&mut line, index..index + 1, 10);
            assert_eq!(next(&mut line), Some(vec![index]));
        }
        push(&mut line, 5..9, 10);
        assert_eq!(next(&mut line), None, "five are under way");
        line.under_way -= 1;
        push(&mut line, 9..12, 10);
        assert_eq!(next(&mut line), Some((5..12).collect()), "in order, with what came meanwhile");
        line.under_way -= 4;
        push(&mut line, 12..13, 10);
        assert_eq!(next(&mut line), None);
        line.under_way -= 7;
        assert_eq!(next(&mut line), Some(vec![12]));
        line.under_way -= 1;
        assert_eq!((line.under_way, next(&mut line)), (0, None));
    }

    #[test]
    fn a_shipment_makes_one_request_and_a_large_record_goes_alone() {
        let mut line = Line::default();
        push(&mut line, 0..4, SHIPMENT_BYTES / 2);
        push(&mut line, 4..5, 2 * SHIPMENT_BYTES);
        for expected in [vec![0, 1], vec![2, 3], vec![4]] {
            assert_eq!(next(&mut line), Some(expected));
            line.under_way = 0;
        }
        push(&mut line, 0..SHIPMENT_RECORDS as u32 + 1, 1);
        assert_eq!(next(&mut line).unwrap().len(), SHIPMENT_RECORDS);
        line.under_way = 0;
        assert_eq!(next(&mut line), Some(vec![SHIPMENT_RECORDS as u32]));
    }
}
