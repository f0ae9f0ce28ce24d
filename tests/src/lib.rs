//! Worlds, media and helpers for the whole-system tests.

pub mod bench;
#[cfg(target_os = "linux")]
pub mod block_disk;
pub mod broker;
pub mod budgets;
pub mod census;
pub mod fuzz;
pub mod injection;
pub mod internet;
pub mod kafka_proxy;
pub mod kafka_requests;
#[cfg(target_os = "linux")]
pub mod memory_group;
pub mod openapi;
pub mod process;
pub mod rogue;
pub mod small_disk;
pub mod soak;
#[cfg(target_os = "linux")]
pub mod volatile;
pub mod walk;
