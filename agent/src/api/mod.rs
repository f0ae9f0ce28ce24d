//! The local API: HTTP/1.1 with JSON on a Unix socket, and on loopback TCP to holders of a token.
//!
//! ```text
//! bytes ─ server: connections, limits ─ routes: paths to calls ─┬─ append: lines in, receipts out
//!                                                               ├─ read: pages out ─ sse: follow
//!                                                               └─ Backend: the node
//! ```
//!
//! - It knows the node only as a [`Backend`], so that tests and the simulator can stand in.
//! - Whatever a client sends or does not read, memory per connection is bounded (`limits`).
//! - Every refusal has the one shape of [`ApiError`].

mod append;
mod application;
mod backend;
mod body;
mod client;
mod consumers;
mod cursor;
mod dead;
mod error;
mod group;
pub mod limits;
mod live;
mod locate;
mod metrics;
mod read;
mod routes;
mod server;
mod sse;
mod status;
mod stream;
mod token_file;
mod trace;
mod verdict;

pub use append::{AppendDone, ReceiptLine, SpanText};
pub use application::Applications;
pub use backend::{
    AdminCommand, AdminReply, AppendReceipt, AppendRequest, Backend, Gap, GroupCondition,
    GroupRecord, GroupRequest, Place, ProducerName, QueryReply, QueryRequest, ReadFrom, ReadItem,
    ReadPage, ReadQuery, RightsChange, Span, Ticket, TokenWanted,
};
pub use client::{Client, ClientError, Event as FollowEvent, Follow, Lines, Target, encoded};
pub use consumers::{
    ConsumerAction, ConsumerChange, ConsumerCommit, ConsumerStatus, Consumers, FetchEnd, FetchPage,
    FetchRequest, MemberStatus, ShareStatus,
};
pub use cursor::{Cursor, NotCursor, Seen, ShareCursor};
pub use dead::{DEAD_HEADERS, DEAD_SUFFIX, FORM_LEFT_OUT, FORM_TOMBSTONE};
#[cfg(feature = "views")]
pub(crate) use dead::{SetAside, SetAsideBy, dead_topic, letter_of};
pub use error::{ApiError, ErrorCode};
pub use group::GroupDone;
#[cfg(feature = "views")]
pub(crate) use locate::locate;
pub use read::ReadEnd;
pub use server::{Access, ListenError, Listener, serve, serve_connection};
pub use status::{
    Alarm, ClockStatus, ForkStatus, GapStatus, LaneStatus, LinkState, LinkStatus, MediumStatus,
    MemoryStatus, NextGeneration, SiteStatus, Status, StreamsSummary, SubscriptionState,
    SubscriptionStatus, TokenGrant, ViewState, ViewStatus,
};

pub use token_file::TokenFileError;
#[cfg(feature = "views")]
pub(crate) use trace::{BY, CAUSE};
pub use trace::{Passed, Trace, TraceHop, TraceLetter, TraceLink, TraceView, trace};
pub use verdict::{TableVerdict, ViewAt, ViewAtRequest, ViewVerdict};

#[cfg(test)]
pub(crate) mod tests;
