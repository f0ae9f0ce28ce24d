//! `cargo xtask kafka`: a real Apache Kafka for the tests, for the demo and for trying things out.
//!
//! Maven fetches it as it is published; a single broker with its controller then runs on loopback,
//! with its files in one folder. It goes on until it is told to stop.

mod archive;
mod broker;
mod jars;
mod reader;
mod rights;

use std::path::PathBuf;

use crate::shell::{self, Failure};
use crate::{Task, debian};
use broker::{Broker, Wanted};

/// What a program with TLS to Kafka needs to be built.
const OPENSSL: [debian::Needed; 2] =
    [("/usr/include/openssl/ssl.h", "libssl-dev"), ("/usr/bin/pkg-config", "pkg-config")];

pub(crate) const TASK: Task = Task {
    name: "kafka",
    about: "up, down or status: an Apache Kafka on loopback, of Maven's jars. --port PORT (9092; \
            0: any that is free), --dir DIR (target/kafka/broker), --proxy PORT (of a proxy that \
            clients come through)",
    run,
};

/// What the user asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Up,
    Down,
    Status,
}

/// The arguments, read.
#[derive(Debug, Eq, PartialEq)]
struct Wish {
    verb: Verb,
    broker: Wanted,
    folder: PathBuf,
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let wish = parse(arguments)?;
    let broker = Broker::new(wish.folder);
    match wish.verb {
        Verb::Up => up(&broker, wish.broker),
        Verb::Down => down(&broker),
        Verb::Status => status(&broker),
    }
}

fn parse(arguments: &[String]) -> Result<Wish, Failure> {
    let usage = |text: String| {
        Failure::Usage(format!("{text}; say `cargo xtask kafka up`, `down` or `status`"))
    };
    let mut words = arguments.iter();
    let verb = match words.next().map(String::as_str) {
        Some("up") => Verb::Up,
        Some("down") => Verb::Down,
        Some("status") => Verb::Status,
        Some(other) => return Err(usage(format!("`cargo xtask kafka` knows no `{other}`"))),
        None => return Err(usage("what shall be done with Kafka?".into())),
    };
    let mut wanted = Wanted::default();
    let mut folder = shell::target().join("kafka/broker");
    while let Some(word) = words.next() {
        if word == "--rights" && verb == Verb::Up {
            wanted.rights = true;
            continue;
        }
        let value = words.next().ok_or_else(|| usage(format!("nothing follows `{word}`")))?;
        let number = || value.parse().map_err(|_| usage(format!("`{value}` is no such number")));
        match word.as_str() {
            "--port" if verb == Verb::Up => wanted.port = Some(number()?),
            "--proxy" if verb == Verb::Up => wanted.proxy = Some(number()?),
            "--forget" if verb == Verb::Up => wanted.forget = Some(number()?),
            "--dir" => folder = std::path::absolute(value).unwrap_or_else(|_| value.into()),
            _ => return Err(usage(format!("`{word}` is not known here"))),
        }
    }
    Ok(Wish { verb, broker: wanted, folder })
}

/// Fetches Apache Kafka, unless it is there, with what it needs, and what reads from it.
pub(crate) fn fetch() -> Result<(), Failure> {
    debian::install(&jars::missing())?;
    archive::make(&jars::fetched()?);
    reader::prepare()
}

/// Installs what a program with TLS to Kafka is built with.
pub(crate) fn prepare_tls() -> Result<(), Failure> {
    debian::install_missing(&OPENSSL)
}

/// The features of the programs that tests start: where OpenSSL is there to build with, one that
/// speaks TLS to Kafka stands for the usual one, which lacks nothing else. To have both would be to
/// compile librdkafka twice.
pub(crate) fn features() -> &'static [&'static str] {
    match debian::missing(&OPENSSL).as_slice() {
        [] => &["--features", "landfall/kafka_tls"],
        _ => &[],
    }
}

fn up(broker: &Broker, wanted: Wanted) -> Result<(), Failure> {
    if let Some(pid) = broker.pid() {
        println!("Kafka runs already at {}, process {pid}", broker.address()?);
        return Ok(());
    }
    let jars = jars::fetched()?;
    archive::make(&jars);
    broker.prepare(&jars, wanted)?;
    let pid = broker.start(&jars, None)?;
    println!("Kafka {} runs at {}, process {pid}", jars::version()?, broker.address()?);
    if let Some(listener) = broker.proxied()? {
        println!("the proxy leads to {listener}");
    }
    let guarded = broker.guarded()?;
    for (name, address) in &guarded {
        println!("{name} listens at {address}");
    }
    if !guarded.is_empty() {
        println!("its user is {} with the password {}", rights::USER, rights::PASSWORD);
        println!("its certificate is {}", broker.certificate().display());
    }
    println!("its files are in {}", broker.folder().display());
    println!("end it with: cargo xtask kafka down");
    Ok(())
}

fn down(broker: &Broker) -> Result<(), Failure> {
    match broker.stop()? {
        Some(pid) => println!("Kafka, process {pid}, has ended"),
        None => println!("no Kafka of {} was running", broker.folder().display()),
    }
    Ok(())
}

fn status(broker: &Broker) -> Result<(), Failure> {
    let folder = broker.folder().display();
    let Some(pid) = broker.pid() else {
        return Err(Failure::Check(format!(
            "no Kafka of {folder} runs; start one with `cargo xtask kafka up`"
        )));
    };
    let address = broker.address()?;
    if !broker.answers() {
        return Err(Failure::Check(format!(
            "Kafka, process {pid}, does not answer at {address}; see {}",
            broker.log().display()
        )));
    }
    println!("Kafka {} answers at {address}, process {pid}", jars::version()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wish, Failure> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_verb_is_needed_and_options_are_those_of_the_verb() {
        let wish = parsed("up --port 0 --rights --dir /b --proxy 7 --forget 3").unwrap();
        let (port, proxy) = (Some(0), Some(7));
        let broker = Wanted { port, proxy, rights: true, forget: Some(3) };
        assert_eq!(wish, Wish { verb: Verb::Up, broker, folder: "/b".into() });
        assert_eq!(parsed("down --dir /b").unwrap().verb, Verb::Down);
        for wrong in [
            "",
            "sideways",
            "up --port",
            "up --port x",
            "down --port 1",
            "up --speed 9",
            "down --rights",
        ] {
            assert!(matches!(parsed(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
