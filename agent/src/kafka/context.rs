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
    trouble: Mutex<Option<String>>,
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
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // What matters comes back from calls, or as an error below.
        tracing::debug!(?level, facility, text, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::info!(%error, reason, "Kafka");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = Some(reason.to_owned());
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
        let mut first = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        // Those behind it fail because it did; what is purged says nothing of itself.
        let told = Undelivered { topic: message.topic().to_owned(), code };
        if first.as_ref().is_none_or(|first| !first.is_refused() && told.is_refused()) {
            *first = Some(told);
        }
    }
}
