//! Calls into librdkafka that its Rust wrapper does not offer: a commit whose outcome is reported,
//! and the id of a topic.
#![allow(
    unsafe_code,
    reason = "every pointer comes from librdkafka, is checked for null where the library may return \
              null, is used only while its owner lives, and is released exactly once"
)]

use std::ffi::CString;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult};

/// Starts a commit and returns at once. The outcome comes to the context's `commit_callback`, on
/// the thread that polls the consumer.
///
/// The wrapper's asynchronous commit reports no outcome, and its synchronous one may block for a
/// minute while the group's coordinator is away.
pub(super) fn start_commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> KafkaResult<()> {
    let rk = consumer.client().native_ptr();
    // SAFETY: `rk` lives as long as `consumer`. The library copies the offsets. The queue is a
    // counted reference that is released here, and no callback is registered with it.
    let error = unsafe {
        let queue = c::rd_kafka_queue_get_consumer(rk);
        if queue.is_null() {
            return Err(KafkaError::Canceled);
        }
        let error = c::rd_kafka_commit_queue(rk, offsets.ptr(), queue, None, std::ptr::null_mut());
        c::rd_kafka_queue_destroy(queue);
        error
    };
    if error.is_error() { Err(KafkaError::ConsumerCommit(error.into())) } else { Ok(()) }
}

/// Returns the id that the brokers gave a topic when it was created. It survives restarts, and a
/// topic that is deleted and created again gets another. `None` if no broker answers, or if the
/// brokers are older than Kafka 2.8, which had no topic ids. Blocks.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Option<u128> {
    let topic = CString::new(topic).ok()?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: `rk` lives as long as `client`. Everything created here is destroyed here, in reverse
    // order, and nothing read from the event outlives it. The collection copies the name.
    unsafe {
        let queue = c::rd_kafka_queue_new(rk);
        let mut names = [topic.as_ptr()];
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = c::rd_kafka_AdminOptions_new(
            rk,
            c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        let mut error_text = [0; 128];
        c::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            error_text.as_mut_ptr(),
            error_text.len(),
        );
        c::rd_kafka_DescribeTopics(rk, topics, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms);
        let id = (!event.is_null()).then(|| first_topic_id(event)).flatten();
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
unsafe fn first_topic_id(event: *mut c::rd_kafka_event_t) -> Option<u128> {
    // SAFETY: `event` is valid by the caller's promise. Every pointer is checked or comes from a
    // counted array, and none is kept.
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
