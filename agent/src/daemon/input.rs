//! What the rest of the process tells and asks the node's thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::handle::Waiting;
use super::producer::Queue;
use crate::api::{
    AdminCommand, AdminReply, ApiError, FetchPage, FetchRequest, Passed, Place, ReadPage,
    ReadQuery, Status,
};
use crate::node::Request;
use crate::transport::TransportEvent;

/// What can happen to a node.
#[derive(Debug)]
pub(super) enum Input {
    /// Somebody appends.
    Append(Box<Request>, Waiting),
    /// Records of a producer of the library wait.
    Produced(Arc<Queue>),
    /// Somebody reads.
    Read(Box<ReadQuery>, oneshot::Sender<Result<ReadPage, ApiError>>),
    /// A member of a consumer wants records.
    Fetch(Box<FetchRequest>, oneshot::Sender<Result<FetchPage, ApiError>>),
    /// A member of a consumer wants no more.
    Leave {
        /// The consumer.
        consumer: String,
        /// The member.
        member: String,
    },
    /// Somebody waits for a place.
    Reached(Place, oneshot::Sender<Result<Option<u64>, ApiError>>),
    /// Somebody asks how a record came here, by its lane, commit and seq.
    Passed(String, (u64, u64), oneshot::Sender<Result<Passed, ApiError>>),
    /// Where the views are, for the log to wait for them.
    #[cfg(feature = "views")]
    Views(Vec<crate::node::ViewPlace>),
    /// Somebody asks what went before views came to it, in records by their names.
    #[cfg(feature = "views")]
    Missed(oneshot::Sender<std::collections::BTreeMap<String, u64>>),
    /// Somebody wants to know.
    Status(oneshot::Sender<Status>),
    /// An operator asks for something.
    Admin(AdminCommand, oneshot::Sender<Result<AdminReply, ApiError>>),
    /// The transport reports.
    Transport(TransportEvent),
    /// The bridge to Kafka says something.
    #[cfg(feature = "kafka")]
    Kafka(crate::kafka::Said),
    /// Something is told of the registry that the hubs before a Kafka share.
    #[cfg(feature = "kafka")]
    Registry(crate::kafka::Told),
    /// Stop in good order.
    Stop,
}

impl Input {
    /// Whether somebody is shown what is stored.
    pub(super) fn shows(&self) -> bool {
        matches!(
            self,
            Self::Read(..)
                | Self::Fetch(..)
                | Self::Reached(..)
                | Self::Passed(..)
                | Self::Status(_)
                | Self::Admin(..)
        )
    }
}
