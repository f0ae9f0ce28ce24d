//! The node: what Landfall runs on a device and at the centre.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod coordinates;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
pub mod entropy;
pub mod event_json;
pub mod identity;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod logging;
pub mod media;
pub mod nearest;
pub mod quantity;
pub mod time_text;
#[cfg(feature = "torture")]
pub mod torture;
pub mod transport;
pub mod usage;
#[cfg(feature = "views")]
pub mod views;
mod whole_file;

pub use landfall_node as node;
