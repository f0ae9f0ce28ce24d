//! The node: what Landfall runs on a device and at the centre.

pub mod media;
pub mod identity;
pub mod transport;
