//! Worlds, media and helpers for the whole-system tests.

pub mod bench;
pub mod caught;
pub mod cuts;
pub mod fleet;
pub mod fuzz;
pub mod injection;
pub mod internet;
pub mod journal;
pub mod media;
#[cfg(target_os = "linux")]
pub mod memory_group;
pub mod model;
pub mod openapi;
pub mod process;
pub mod rng;
pub mod rogue;
pub mod rot;
pub mod small_disk;
pub mod soak;
pub mod trial;
#[cfg(target_os = "linux")]
pub mod volatile;
pub mod walk;
pub mod world;
