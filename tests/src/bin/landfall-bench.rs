//! `landfall-bench`: measures what Landfall does beside what the machine can do. `cargo xtask
//! bench` builds and runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use landfall::config::{LogFormat, LogLevel};
use landfall::logging;
use landfall_tests::bench::limits::{SINK_WORD, sink};
use landfall_tests::bench::report::Report;
use landfall_tests::bench::{NAMES, Options, run};

const USAGE: &str = "\
usage: landfall-bench [NAME...] [--dir D] [--divide N] [--device-program P] [--json FILE]

  catchup   a ship's backlog to the hub: --bulk, --trickle (one-record commits), or both
  jetstream the bulk backlog again, beside the mirror of a NATS leaf node (needs nats-server)
  append    durable appends through the library and the API, and how long one takes
  api       a request for each record, and a follower
  views     records into a view of JSON: how fast, also again, and what queries and memory do then
  wire      bytes on the wire against the JSON
  urgent    an urgent record beside a backlog on a slow link
  memory    of a ship that idles, and that catches up from 1 MiB and from 2 GiB
  opening   a journal of 1 GiB, closed and killed
  size      of the program for devices
  kafka     a hub before a Kafka, beside Kafka's own producer, with 1 and with 200 devices; only if
            it is named, since it needs Java

All others run if none is named. Each makes its nodes in a folder below D (the system's temporary
folder), which takes up to 5 GiB, and removes them. --divide N measures with an N-th of the data, to
try things out.
";

/// The two kinds of `catchup`.
const CATCHUPS: [&str; 2] = ["bulk", "trickle"];

struct Call {
    names: Vec<&'static str>,
    options: Options,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match (runtime, words.as_slice()) {
        (Ok(runtime), [word]) if word == SINK_WORD => runtime.block_on(sink()),
        (Ok(runtime), words) => {
            let Some(call) = parse(words) else {
                eprint!("{USAGE}");
                return ExitCode::from(2);
            };
            runtime.block_on(measure(call))
        }
        (Err(error), _) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(call: Call) -> std::io::Result<()> {
    // Nodes that run in this process warn as they would in their own.
    logging::start(LogLevel::Warn, LogFormat::Text).map_err(std::io::Error::other)?;
    let mut report = Report::default();
    let is_meant = |name: &&&'static str| match call.names.as_slice() {
        [] => **name != "kafka",
        names => names.contains(name),
    };
    for name in NAMES.iter().filter(is_meant) {
        run(name, &call.options, &mut report).await?;
    }
    match call.json {
        Some(path) => std::fs::write(path, format!("{:#}\n", report.json())),
        None => Ok(()),
    }
}

fn parse(words: &[String]) -> Option<Call> {
    let dir = std::env::temp_dir();
    let options = Options { dir, divisor: 1, device_program: None };
    let mut call = Call { names: Vec::new(), options, json: None };
    let mut words = words.iter();
    let mut catchup = false;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--dir" => call.options.dir = words.next()?.into(),
            "--divide" => call.options.divisor = words.next()?.parse().ok().filter(|n| *n > 0)?,
            "--device-program" => call.options.device_program = Some(words.next()?.into()),
            "--json" => call.json = Some(words.next()?.into()),
            "catchup" => catchup = true,
            "--bulk" => call.names.push("bulk"),
            "--trickle" => call.names.push("trickle"),
            name => call.names.push(NAMES.into_iter().find(|known| *known == name)?),
        }
    }
    if catchup && !call.names.iter().any(|name| CATCHUPS.contains(name)) {
        call.names.extend(CATCHUPS);
    }
    Some(call)
}
