//! What is fuzzed: one function per target, which takes any bytes and asserts what must hold of
//! whatever they make of a parser, a journal or a session.
//!
//! - The drivers in `fuzz/` call these under libFuzzer; `tests/tests/fuzz_corpora.rs` replays the
//!   committed inputs, and changes of them, without it.
//! - A target neither panics nor loops for any input, and takes no more memory than it states.
//! - The same bytes do the same in every run.

mod api;
mod disk;
mod format;
mod http;
mod image;
mod input;
mod line;
mod messages;
pub mod neighbours;
mod seeds;
mod session;
mod settings;
mod text;
mod wire;

/// Something that takes any bytes.
pub struct Target {
    /// Its name, also of its driver and of the folder with its inputs.
    pub name: &'static str,
    /// Takes an input; panics if something does not hold.
    pub run: fn(&[u8]),
    /// Valid inputs, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The most bytes that any input may make it hold at once, besides the input.
    pub memory_bytes_max: usize,
    /// How much one input costs; the replay makes fewer changes of inputs that cost more.
    pub cost: Cost,
}

/// How much time an input takes, roughly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cost {
    /// Microseconds: parsers.
    Low,
    /// A tenth of a millisecond and more: machines, servers, journals.
    High,
}

const KIB: usize = 1024;

/// All targets, from the format to the API.
pub const TARGETS: [Target; 17] = [
    target("record", format::record, seeds::record, 16 * KIB, Cost::Low),
    target("batch", format::batch, seeds::batch, 16 * KIB, Cost::Low),
    target("entry", format::entry, seeds::entry, 16 * KIB, Cost::Low),
    target("segment", disk::segment, seeds::segment, 1024 * KIB, Cost::High),
    target("opening", disk::opening, seeds::opening, 1024 * KIB, Cost::High),
    target("control_message", wire::control, seeds::control_message, 16 * KIB, Cost::Low),
    target("lane_message", wire::lane, seeds::lane_message, 16 * KIB, Cost::Low),
    target("frames", wire::frames, seeds::frames, 1024 * KIB, Cost::Low),
    target("body", wire::body, seeds::body, 1024 * KIB, Cost::Low),
    target("line", line::line, line::seeds, 64 * KIB, Cost::High),
    target("session", session::session, seeds::session, 4096 * KIB, Cost::High),
    target("config", settings::config, seeds::config, 1024 * KIB, Cost::High),
    target("token", settings::token, seeds::token, 64 * KIB, Cost::Low),
    target("registry", settings::registry, seeds::registry, 256 * KIB, Cost::Low),
    target("text", text::text, seeds::text, 64 * KIB, Cost::Low),
    target("lines", api::lines, seeds::lines, 256 * KIB, Cost::Low),
    target("http", http::http, seeds::http, 1024 * KIB, Cost::High),
];

const fn target(
    name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    memory_bytes_max: usize,
    cost: Cost,
) -> Target {
    Target { name, run, seeds, memory_bytes_max, cost }
}

/// Gives an input to the target of that name, which must exist.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let Some(target) = target else { panic!("there is no target `{name}`") };
    (target.run)(bytes);
}
