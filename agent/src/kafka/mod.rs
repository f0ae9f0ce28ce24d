//! A Kafka cluster behind a hub: what edge records are in Kafka.

pub mod birth;
pub mod frontier_record;
pub mod murmur;
pub mod route;
