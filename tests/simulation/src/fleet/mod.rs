//! Fleets in which everything goes wrong: devices, chains of gateways and hubs from one seed, in
//! one thread, on simulated disks, network and time. The nodes are the machine and the journal of
//! the daemon.
//!
//! ```text
//! seed ─ draw ─▶ plan (a shape, operations) ─ run ─▶ world, checked after each operation
//!                  ▲                                   │ a violation
//!                  └────────────── shrink ◀────────────┘
//! ```
//!
//! When the operations are over, all faults stop, and the fleet must become whole in bounded time.

pub mod coverage;
pub mod dialect;
pub mod operation;
pub mod plan;
pub mod run;
pub mod shape;
pub mod shrink;

pub use plan::Plan;
pub use run::{Finding, Outcome, run};
