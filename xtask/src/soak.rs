//! `cargo xtask soak`: kills real processes at random, and checks that nothing was lost or doubled.

use crate::shell::{self, Failure};
use crate::{Task, kafka};

pub(crate) const TASK: Task = Task {
    name: "soak",
    about: "[--kafka HUBS] --kills N [--seed S] [--dir D] [--minutes M]: kill hub and device, with \
            a Kafka behind one hub or two if it is asked for, then check",
    run,
};

fn run(arguments: &[String]) -> Result<(), Failure> {
    if !arguments.iter().any(|word| word == "--kills") {
        return Err(Failure::Usage("how many kills? `cargo xtask soak --kills 100`".to_owned()));
    }
    if arguments.iter().any(|word| word == "--kafka") {
        kafka::fetch()?;
    }
    // The driver starts the program, and the task that starts brokers, that it finds beside itself.
    shell::run(&mut shell::cargo(&["build", "--release", "--workspace", "--bins"]))?;
    let mut driver = std::process::Command::new(shell::target().join("release/landfall-soak"));
    shell::run(driver.args(arguments))
}
