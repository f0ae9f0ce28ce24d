//! `cargo xtask firmware`: the sensor of `cross/firmware` in an emulator whose power goes at random
//! moments.

use crate::counts::Counts;
use crate::shell::{self, Failure};
use crate::test::{build_programs, pass, suite};
use crate::{Task, debian, size};

pub(crate) const TASK: Task = Task {
    name: "firmware",
    about: "run the sensor's firmware in QEMU and cut its power at random moments",
    run,
};

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    test(&mut Counts::default())
}

/// Builds the firmware, and runs and counts the tests with it.
pub(crate) fn test(counts: &mut Counts) -> Result<(), Failure> {
    debian::install_missing(&size::needed())?;
    let firmware =
        debian::build_for_cortex("firmware", debian::CORTEX_M3)?.join("landfall-firmware");
    pass(suite("device", "qemu::").env("LANDFALL_FIRMWARE", &firmware), counts)?;
    // The whole chain: the sensor, a gateway on its serial line, and a hub.
    build_programs()?;
    pass(suite("processes", "serial::").env("LANDFALL_FIRMWARE", firmware), counts)
}
