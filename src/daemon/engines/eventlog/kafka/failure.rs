//! What the library's errors mean in the terms of the log.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::daemon::engines::eventlog::LogError;

/// An error of anything but an append.
pub(super) fn unavailable(doing: &str, error: &KafkaError) -> LogError {
    let text = error.rdkafka_error_code().map_or_else(|| error.to_string(), describe);
    LogError::Unavailable(format!("{doing}: {text}"))
}

/// Why a record of so many bytes was not stored.
pub(super) fn refused(topic: &str, bytes: usize, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => LogError::TooLarge { bytes },
        Some(code) => {
            LogError::Unavailable(format!("appending to topic {topic}: {}", describe(code)))
        }
        None => LogError::Unavailable(format!("appending to topic {topic}: {error}")),
    }
}

/// Whether an error says that the cluster could not be reached, rather than what it answered.
pub(super) fn is_outage(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::MessageTimedOut
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::Authentication
                | Code::SSL
        )
    )
}

fn describe(code: Code) -> String {
    let text = match code {
        Code::AllBrokersDown | Code::BrokerTransportFailure => {
            "no broker of `kafka.brokers` can be reached"
        }
        Code::MessageTimedOut => "the brokers did not acknowledge within `kafka.append_timeout`",
        Code::OperationTimedOut | Code::RequestTimedOut => "the brokers did not answer in time",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the brokers refuse who `kafka.sasl` says this is"
        }
        Code::SSL => "no TLS connection with the settings of `kafka.tls`",
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            "this client may not do that (see the access rules of the user in `kafka.sasl`)"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than the topic's min.insync.replicas"
        }
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            "another process writes under this node's name (is `node.name` unique?)"
        }
        Code::InvalidSessionTimeout => {
            "the brokers do not allow this `kafka.session_timeout` (see group.min.session.timeout.ms)"
        }
        other => return format!("{other} ({other:?})"),
    };
    text.to_owned()
}
