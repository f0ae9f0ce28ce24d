//! Kafka's classes as Java has loaded them once: from these a broker starts in half the time and
//! with half the work, and tests start many.

use std::fs;
use std::path::Path;

use super::broker::{Broker, Wanted};
use super::jars;
use crate::shell::{self, Failure};

/// Keeps the classes that a broker loads from its start to its end, unless they are kept already.
/// All goes on without them, only slower; so what keeps Java from keeping them is only told.
pub(crate) fn make(jars: &Path) {
    let archive = jars::classes(jars);
    if archive.is_file() {
        return;
    }
    println!("starting Kafka once to keep what Java loads, some 10 s; later it starts faster");
    // Others may do so at the same time.
    let folder = shell::target().join(format!("kafka/first-{}", std::process::id()));
    let made = record(jars, &Broker::new(folder.clone()), &folder.join("classes"));
    let kept = made.and_then(|()| {
        let cannot = |error| Failure::Machine(format!("no {}: {error}", archive.display()));
        fs::rename(folder.join("classes"), &archive).map_err(cannot)
    });
    if let Err(failure) = kept {
        println!("Kafka will start slower than it could: {failure}");
    }
    // What is left of it is in nobody's way.
    let _ = fs::remove_dir_all(folder);
}

fn record(jars: &Path, broker: &Broker, archive: &Path) -> Result<(), Failure> {
    broker.prepare(jars, Wanted { port: Some(0), ..Wanted::default() })?;
    broker.start(jars, Some(archive))?;
    broker.stop().map(|_| ())
}
