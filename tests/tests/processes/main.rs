//! Whole processes: what a person or a service manager does to them, and what a machine does.

mod appends;
mod at_length;
mod clocks;
mod commands;
mod consumers;
mod copies;
mod damage;
mod emulated;
#[cfg(target_os = "linux")]
mod flash;
mod fleet;
mod full_disk;
mod input;
mod intruders;
mod kafka;
mod kafka_faults;
mod kafka_hubs;
mod kafka_lacks;
mod kafka_mapping;
mod kafka_reader;
mod kafka_rebuild;
mod kafka_refuses;
mod kafka_registry;
mod kafka_rights;
mod limits;
mod links;
#[cfg(target_os = "linux")]
mod memory;
mod on;
mod openapi;
mod packages;
mod refusals;
mod replies;
mod rogue;
mod serial;
mod swarm;
mod torture;
mod trace;
mod views;
