//! What programs are told of appends that were refused.

use crate::api::{ApiError, ErrorCode};
use crate::node::Refusal;
use crate::node::consumer::{CONSUMERS_MAX, ConsumerFault};
use crate::node::members::MEMBERS_MAX;

/// What a program is told whose append was refused.
pub(super) fn refusal(why: Refusal, topic: &str, consumers: &[String]) -> ApiError {
    let (code, text, hint) = match why {
        Refusal::TopicName => (ErrorCode::BadRequest, "the topic's name is not valid", ""),
        Refusal::InternalTopic => (
            ErrorCode::Forbidden,
            "topics that begin with `_` are the node's own",
            "choose another name",
        ),
        Refusal::UnknownTopic => (
            ErrorCode::UnknownTopic,
            "the topic is unknown, and topics are not created here",
            "add a [[topic]] to the configuration, or set create_topics = true",
        ),
        Refusal::ComesDown => (
            ErrorCode::Forbidden,
            "the topic comes down from the node above, and is not written here",
            "append it at the node above, or to another topic",
        ),
        Refusal::BadRecord => (ErrorCode::BadRequest, "a record is malformed", ""),
        Refusal::TooLarge => (
            ErrorCode::TooLarge,
            "a record or group is too large for the journal",
            "split it, or raise storage.commit_bytes_max",
        ),
        Refusal::SeveralLanes => (
            ErrorCode::Conflict,
            "the topics of a group are in several lanes",
            "give them one lane in the configuration, or append them apart",
        ),
        Refusal::Unmet { at, offset } => {
            let text = format!("{topic}: condition {} does not hold: {offset} is there", at + 1);
            return ApiError::new(ErrorCode::Unmet, text)
                .with_hint("read from there, and try again");
        }
        Refusal::TooFarBack { at } => {
            let text = format!("{topic}: condition {} goes too far back to be looked up", at + 1);
            let hint = "read the topic to its end, and name the last offset that you saw";
            return ApiError::new(ErrorCode::Conflict, text).with_hint(hint);
        }
        Refusal::LaneFull(_) => (
            ErrorCode::LaneFull,
            "the lane is full of records that are not yet durable at the root",
            "bring the link up, raise budget_bytes, or set on_full = \"drop_oldest\"",
        ),
        Refusal::NoSpace => {
            (ErrorCode::DiskFull, "the disk is full", "free space; nothing stored is lost")
        }
        Refusal::Media => (
            ErrorCode::Internal,
            "the disk failed to write or sync",
            "check the disk; the node's log says more",
        ),
        Refusal::Behind => {
            (ErrorCode::Conflict, "something in front of it was refused", "send it again")
        }
        Refusal::Consumer { at, why } => {
            let name = consumers.get(at as usize).map_or("", String::as_str);
            return consumer_refusal(name, why);
        }
        Refusal::Busy => (ErrorCode::Busy, "too much waits already", "send it again"),
    };
    let error = ApiError::new(code, format!("{topic}: {text}"));
    if hint.is_empty() { error } else { error.with_hint(hint) }
}

/// What a program is told that may not change a consumer so.
pub(super) fn consumer_refusal(name: &str, why: ConsumerFault) -> ApiError {
    let (code, text, hint) = match why {
        ConsumerFault::Unknown => {
            (ErrorCode::NotFound, "there is no such consumer", "make it by `POST /v1/consumers`")
        }
        ConsumerFault::OtherTopics => (
            ErrorCode::Conflict,
            "it is there with other topics",
            "drop it first, or choose another name",
        ),
        ConsumerFault::Backwards => (
            ErrorCode::Conflict,
            "it has come further already",
            "read on from its cursor, or seek to go back",
        ),
        ConsumerFault::TooMany => {
            let text = format!("{name}: a node keeps {CONSUMERS_MAX} consumers");
            return ApiError::new(ErrorCode::Conflict, text).with_hint("drop one that is not used");
        }
        ConsumerFault::Lost => (
            ErrorCode::Conflict,
            "what is before its cursor was lost: this node was restored, or its disk lost writes",
            "say where it goes on by `landfall consumer seek`",
        ),
        ConsumerFault::Shared => (
            ErrorCode::Conflict,
            "it has members, and only they commit",
            "commit as a member what was fetched as it, or wait until the members' leases are over",
        ),
        ConsumerFault::NotYours => (
            ErrorCode::Conflict,
            "the member was not given this, or its lease is over",
            "fetch again; what was not committed is given to whoever has its keys",
        ),
        ConsumerFault::TooManyMembers => {
            let text = format!("{name}: a consumer has up to {MEMBERS_MAX} members");
            let hint = "stop one, or wait until its lease is over";
            return ApiError::new(ErrorCode::Conflict, text).with_hint(hint);
        }
        ConsumerFault::Gone => (
            ErrorCode::Gone,
            "the cursor is of another log, or beyond what this node has",
            "this node may have been restored; seek to where it is to go on",
        ),
    };
    ApiError::new(code, format!("{name}: {text}")).with_hint(hint)
}
