//! Calls into librdkafka that its Rust wrapper does not offer: a commit whose outcome is reported,
//! and the ids of topics.
#![allow(
    unsafe_code,
    reason = "every pointer comes from librdkafka, is checked for null where the library may return \
              null, is used only while its owner lives, and is released exactly once"
)]

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, KafkaResult, RDKafkaErrorCode};

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

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicDescription {
    pub(super) name: String,
    /// The id that the brokers gave the topic when it was created. It survives restarts, and a
    /// topic that is deleted and created again gets another. `None` from brokers older than Kafka
    /// 2.8, which had no topic ids.
    pub(super) id: Option<u128>,
    pub(super) partitions: u32,
    /// The reason why the brokers do not describe the topic.
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// Asks the brokers for topics. Never creates one. Blocks for at most `timeout`.
pub(super) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<TopicDescription>, RDKafkaErrorCode> {
    let names: Result<Vec<CString>, _> = topics.iter().map(|name| CString::new(&**name)).collect();
    let names = names.map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: `rk` lives as long as `client`. Everything created here is destroyed here, in reverse
    // order, and nothing read from the event outlives it. The collection copies the names.
    unsafe {
        let queue = c::rd_kafka_queue_new(rk);
        let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
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
        let described = if event.is_null() {
            Err(RDKafkaErrorCode::OperationTimedOut)
        } else {
            let described = descriptions(event);
            c::rd_kafka_event_destroy(event);
            described
        };
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        c::rd_kafka_queue_destroy(queue);
        described
    }
}

/// # Safety
/// `event` must be a valid event.
unsafe fn descriptions(
    event: *mut c::rd_kafka_event_t,
) -> Result<Vec<TopicDescription>, RDKafkaErrorCode> {
    // SAFETY: `event` is valid by the caller's promise. Every pointer is checked or comes from a
    // counted array, and none is kept.
    unsafe {
        let error = c::rd_kafka_event_error(event);
        if error.is_error() {
            return Err(error.into());
        }
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() {
            return Ok(Vec::new());
        }
        Ok(std::slice::from_raw_parts(topics, count).iter().map(|&topic| describe(topic)).collect())
    }
}

/// # Safety
/// `topic` must be a valid description.
unsafe fn describe(topic: *const c::rd_kafka_TopicDescription_t) -> TopicDescription {
    // SAFETY: `topic` is valid by the caller's promise. The library returns a terminated name, and
    // an error and an id that may be null. Everything is copied.
    unsafe {
        let name = CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic));
        let error = c::rd_kafka_TopicDescription_error(topic);
        let code = (!error.is_null()).then(|| c::rd_kafka_error_code(error));
        let mut partitions = 0;
        c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        let id = (!id.is_null()).then(|| {
            let high = c::rd_kafka_Uuid_most_significant_bits(id) as u64;
            let low = c::rd_kafka_Uuid_least_significant_bits(id) as u64;
            (u128::from(high) << 64) | u128::from(low)
        });
        TopicDescription {
            name: name.to_string_lossy().into_owned(),
            id: id.filter(|id| *id != 0),
            partitions: partitions as u32,
            error: code.filter(|code| code.is_error()).map(Into::into),
        }
    }
}
