//! The simulator: whole fleets of nodes in one thread, on media, networks and clocks of its own.

pub mod caught;
pub mod clock;
pub mod cuts;
pub mod fleet;
pub mod journal;
pub mod media;
pub mod model;
pub mod rng;
pub mod rot;
pub mod trial;
pub mod world;
