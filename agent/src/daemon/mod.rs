//! The daemon: a node machine on a thread of its own, between a transport, the local API and the
//! disk.
//!
//! ```text
//! API ──┐                                   ┌─▶ transport ─▶ peers
//!       ├─ Input ─▶ node thread (machine) ──┤
//! peers ┘            │  blocks in fdatasync └─▶ outcomes
//!                    ▼
//!                 journal
//! ```
//!
//! The network and the API run on tokio and never wait for the disk; the node thread does.

mod admin;
mod answer;
mod consumers;
mod corrected;
mod dial;
mod enrolling;
#[cfg(feature = "kafka")]
mod forwards;
mod gate;
mod group;
mod handle;
#[cfg(feature = "views")]
mod holding;
mod input;
mod inspect;
#[cfg(feature = "kafka")]
mod kafka;
mod machine;
mod manager;
mod open;
mod producer;
mod reader;
mod refusal;
mod report;
mod run;
#[cfg(feature = "kafka")]
mod shared;
mod split;
#[cfg(test)]
mod tests;
mod trace;
mod wear;

pub use gate::SiteGate;
pub use handle::{Handle, encode_event};
pub use inspect::{BranchReport, Found, Inspection, LaneReport, Report};
#[cfg(feature = "kafka")]
pub use kafka::kafka_behind;
pub use machine::Stopped;
pub use manager::ServiceManager;
pub use open::{Opened, StartError, create, open};
pub use producer::{IN_FLIGHT_MAX, Producer, RecordTicket};
pub use reader::Readers;
pub use run::{Daemon, Until};
pub use split::split;
