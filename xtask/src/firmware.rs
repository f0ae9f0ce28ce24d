//! `cargo xtask firmware`: the sensor of `cross/firmware` in an emulator whose power goes at random
//! moments.

use std::process::Command;

use crate::counts::Counts;
use crate::shell::{self, Failure};
use crate::test::counted;
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
    let firmware = debian::build_for_cortex("firmware")?.join("landfall-firmware");
    let mut test = shell::cargo(&["test", "--locked", "--package", "landfall-device"]);
    test.args(["--test", "device", "qemu::"]).env("LANDFALL_FIRMWARE", &firmware);
    pass(&mut test, counts)?;
    // The whole chain: the sensor, a gateway on its serial line, and a hub.
    shell::run(&mut shell::cargo(&["build", "--locked", "--package", "landfall"]))?;
    let mut test = shell::cargo(&["test", "--locked", "--package", "landfall-tests"]);
    test.args(["--test", "processes", "serial::"]).env("LANDFALL_FIRMWARE", firmware);
    pass(&mut test, counts)
}

/// Runs tests, which must pass.
fn pass(command: &mut Command, counts: &mut Counts) -> Result<(), Failure> {
    let status = counted(command, counts)?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Check(format!("`{}` failed: {status}", shell::line(command)))),
    }
}
