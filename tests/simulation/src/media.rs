//! Simulated media: a disk that loses power, lies and rots, and NOR flash.
//!
//! Both are handles: a journal owns one clone, the world that does things to the medium another.
//! Everything that happens follows from the seed and the calls.

pub mod contract;
pub mod counters;
pub mod damage;
pub mod disk;
pub mod image;
pub mod nor;
pub mod power;
pub mod rig;
