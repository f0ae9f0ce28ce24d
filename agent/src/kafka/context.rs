//! What librdkafka reports beside the answers to calls.

use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};

/// Takes in what librdkafka reports.
#[derive(Debug, Default)]
pub(super) struct Context {
    undelivered: Mutex<Option<Undelivered>>,
    refused: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    trouble: Mutex<Option<Trouble>>,
}

/// What went wrong with connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trouble {
    pub(super) code: Option<RDKafkaErrorCode>,
    /// In librdkafka's words.
    pub(super) reason: String,
}

/// The first record of a transaction that was not delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Undelivered {
    pub(super) topic: String,
    pub(super) code: RDKafkaErrorCode,
}

impl Undelivered {
    /// Whether Kafka would not take anything for its topic, until a person changes something.
    pub(super) fn is_refused(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    }
}

/// Whether a code says that Kafka will not take that very record.
pub(super) fn is_of_record(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::MessageSizeTooLarge
    )
}

impl Context {
    /// The records, counted from 0 within the transaction, that were refused for what they are.
    pub(super) fn take_refused(&self) -> Vec<(usize, RDKafkaErrorCode)> {
        std::mem::take(&mut self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first record that was not delivered since this was last asked.
    pub(super) fn take_undelivered(&self) -> Option<Undelivered> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A record was refused for what it is.
    pub(super) fn note_refused(&self, count: usize, code: RDKafkaErrorCode) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).push((count, code));
    }

    /// What went wrong last with the connections.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kafka has answered: what went wrong with connections until now is over.
    pub(super) fn forget_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A record was not delivered, or could not be.
    fn note_undelivered(&self, told: Undelivered) {
        let mut first = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        // Those behind it fail because it did; what is purged says nothing of itself.
        if first.as_ref().is_none_or(|first| !first.is_refused() && told.is_refused()) {
            *first = Some(told);
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // What else matters comes back from calls, or as an error below.
        tracing::debug!(?level, facility, text, "librdkafka");
        if facility == "ADDPARTS"
            && let Some(topic) = forbidden_topic(text)
        {
            let (topic, code) = (topic.to_owned(), RDKafkaErrorCode::TopicAuthorizationFailed);
            self.note_undelivered(Undelivered { topic, code });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::info!(%error, reason, "Kafka");
        let code = error.rdkafka_error_code();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // That all are gone, the one that went last has told better.
        if trouble.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *trouble = Some(Trouble { code, reason: reason.to_owned() });
        }
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    /// The count of the record within its transaction.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, count: usize) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if is_of_record(code) {
            self.note_refused(count, code);
        }
        self.note_undelivered(Undelivered { topic: message.topic().to_owned(), code });
    }
}

/// The topic that may not be written, of what librdkafka logs when Kafka does not let a
/// transaction have it: no call and no record's report names it.
fn forbidden_topic(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Failed to add partition \"")?;
    let (topic, rest) = rest.split_once('"')?;
    rest.ends_with("Topic authorization failed").then_some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_that_may_not_be_written_is_the_one_that_is_not_authorized() {
        let told = |why: &str| {
            format!(
                "[thrd:main]: k:9092/1: Failed to add partition \"ais\" [3] to transaction: {why}"
            )
        };
        let forbidden = told("Broker: Topic authorization failed");
        assert_eq!(forbidden_topic(&forbidden), Some("ais"));
        // Kafka did not try those beside it.
        assert_eq!(forbidden_topic(&told("Broker: Operation not attempted")), None);
    }
}
