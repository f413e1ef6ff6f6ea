//! The identity Kafka itself gives a topic when it is created: it survives restarts, and a topic that
//! is deleted and created again gets another. The wrapper library does not pass it on, so it is asked
//! of the C library underneath. Brokers older than Kafka 2.8 give none; then the cluster's identity and
//! the topic's name must do.
#![allow(unsafe_code, reason = "calls into librdkafka; every pointer comes from it and is checked")]

use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use tracing::warn;

use crate::daemon::engines::eventlog::LogError;
use crate::protocol::Epoch;

/// The epoch of a log whose order lies in `topic`. Blocks until a broker answered.
pub(super) fn epoch<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Epoch, LogError> {
    if let Some(id) = topic_id(client, topic, timeout) {
        return Ok(folded(id));
    }
    let Some(cluster) = client.fetch_cluster_id(timeout) else {
        let text = format!("no broker of `kafka.brokers` says which identity topic {topic} has");
        return Err(LogError::Unavailable(text));
    };
    warn!(
        topic,
        cluster,
        "these brokers give topics no identity: a new topic of the same name will \
        pass for the old one"
    );
    let mut hash = crc32c::crc32c(cluster.as_bytes());
    hash = crc32c::crc32c_append(hash, topic.as_bytes());
    Ok(Epoch(hash.max(1)))
}

/// Both halves of an identity are random. Zero is left out: it reads as "none".
fn folded(id: u128) -> Epoch {
    let half = (id ^ (id >> 64)) as u64;
    Epoch(((half ^ (half >> 32)) as u32).max(1))
}

fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Option<u128> {
    let topic = CString::new(topic).ok()?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: `rk` lives as long as `client`; what is created here is destroyed here, in reverse
    // order, and nothing read from the event outlives it. The name is copied by the collection.
    unsafe {
        let queue = c::rd_kafka_queue_new(rk);
        let mut names = [topic.as_ptr()];
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = c::rd_kafka_AdminOptions_new(
            rk,
            c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        let mut why = [0; 128];
        c::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            why.as_mut_ptr(),
            why.len(),
        );
        c::rd_kafka_DescribeTopics(rk, topics, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms);
        let id = (!event.is_null()).then(|| first_id(event)).flatten();
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        c::rd_kafka_queue_destroy(queue);
        id
    }
}

/// # Safety
/// `event` must be a valid event.
unsafe fn first_id(event: *mut c::rd_kafka_event_t) -> Option<u128> {
    // SAFETY: the caller's promise; every pointer is checked or comes from a counted array, and none
    // is kept.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 || topics.is_null() {
            return None;
        }
        let id = c::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return None;
        }
        let high = c::rd_kafka_Uuid_most_significant_bits(id) as u64;
        let low = c::rd_kafka_Uuid_least_significant_bits(id) as u64;
        Some((u128::from(high) << 64) | u128::from(low)).filter(|id| *id != 0)
    }
}
