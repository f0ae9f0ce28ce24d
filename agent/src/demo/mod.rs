//! `landfall demo`: a ship goes offline and comes back, on real data, in under 20 seconds.
//!
//! A hub, a ship and a copy of the ship run as processes of their own, in a temporary folder; the
//! link between them is a relay in this process. What the play claims it checks: in the end every
//! record of the ship and its copy is compared with the hub's, by coordinates and content, and the
//! stream hashes are computed anew from all three stores. A view of the hub is followed all the
//! while, and has each vessel.
//!
//! With a Kafka behind the hub there is another play, which ends with what a consumer finds there.
//!
//! ```text
//! ship ──┐
//!        ├── relay (slow, far, sometimes down) ── hub
//! copy ──┘
//! ```

mod chart;
mod comparison;
#[cfg(feature = "kafka")]
mod kafka;
mod play;
mod process;
mod sample;
mod stage;
mod voice;

use std::io::Write;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{Exit, Failure};
use crate::transport::relay::BitsPerSecond;

use stage::Stage;
use voice::Voice;

pub use sample::Sample;

/// What the demonstration is like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The `landfall` program that plays all parts.
    pub program: PathBuf,
    /// How fast the link is, each way.
    pub rate: BitsPerSecond,
    /// How long a byte takes to the hub and back.
    pub round_trip: Duration,
    /// A broker, if a Kafka stands behind the hub: then there is another play. Programs without
    /// Kafka take no notice.
    pub kafka: Option<String>,
}

impl Plan {
    /// A satellite link on a bad day: 256 kbit/s, 300 ms there and back.
    #[must_use]
    pub fn standard(program: PathBuf) -> Self {
        let rate = const { BitsPerSecond(NonZeroU64::new(256_000).expect("it is not zero")) };
        let round_trip = Duration::from_millis(300);
        Self { program, rate, round_trip, kafka: None }
    }
}

/// Plays the demonstration and writes to `out` what happens. All processes that it starts have
/// ended when it returns, however it ends.
///
/// # Errors
/// When something that should have happened did not, or the play was interrupted. The folder with
/// the data and the logs stays then; the message names it.
pub async fn run(plan: &Plan, out: &mut impl Write) -> Result<Exit, Failure> {
    let stage = Stage::build(plan).map_err(Failure::refused)?;
    let folder = stage.folder.clone();
    let mut voice = Voice::new(out);
    let outcome = tokio::select! {
        outcome = play(stage, plan, &mut voice) => outcome,
        interrupted = interrupted() => Err(interrupted),
    };
    voice.hush();
    let kept = |why: String| {
        format!("landfall demo: {why}\nThe data and the logs are kept in {}", folder.display())
    };
    match outcome {
        Ok(()) => {
            // What can't be removed the system removes some day.
            let _ = std::fs::remove_dir_all(&folder);
            Ok(Exit::Done)
        }
        Err(why) => Err(Failure { exit: Exit::FailedCheck, message: kept(why) }),
    }
}

async fn play(stage: Stage, plan: &Plan, voice: &mut Voice<'_, impl Write>) -> Result<(), String> {
    #[cfg(feature = "kafka")]
    if let Some(broker) = &plan.kafka {
        return kafka::play(stage, plan, broker, voice).await;
    }
    play::play(stage, plan, voice).await
}

async fn interrupted() -> String {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    "interrupted".into()
}
