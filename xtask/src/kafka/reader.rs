//! A consumer in another language for the tests: Python with Confluent's client, in an environment
//! of its own.

use std::path::PathBuf;

use crate::python;
use crate::shell::{self, Failure};

/// The client, pinned.
const CLIENT: &str = "confluent-kafka==2.16.1";

/// Makes the environment, unless it is there.
pub(crate) fn prepare() -> Result<(), Failure> {
    let folder: PathBuf = shell::target().join("kafka/reader");
    let made_of = folder.join("made-of");
    if std::fs::read_to_string(&made_of).is_ok_and(|old| old == CLIENT) {
        return Ok(());
    }
    let environment = python::environment(&folder)?;
    python::pip(&environment, &["install", "--only-binary", ":all:", CLIENT], None)?;
    std::fs::write(&made_of, CLIENT)
        .map_err(|error| Failure::Machine(format!("cannot write {}: {error}", made_of.display())))
}
