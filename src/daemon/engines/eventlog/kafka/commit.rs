//! Commits whose outcome is heard. The wrapper library's own asynchronous commit tells nobody how it
//! went, and its synchronous one may block for a minute while the group's coordinator is away.
#![allow(unsafe_code, reason = "calls into librdkafka; every pointer comes from it and is checked")]

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult};

/// Hands a commit over and returns at once. What becomes of it comes to the context's
/// `commit_callback`, on the thread that polls the consumer.
pub(super) fn send<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> KafkaResult<()> {
    let rk = consumer.client().native_ptr();
    // SAFETY: `rk` lives as long as `consumer`; the offsets are copied; the queue is a counted
    // reference that is given back here, and no callback of ours is registered.
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
