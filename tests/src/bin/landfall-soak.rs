//! `landfall-soak`: kills a hub and a device until told, and checks what is left. `cargo xtask
//! soak` builds and runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use landfall_tests::soak::kafka::HUBS_MAX;
use landfall_tests::soak::{self, Options, SoakError};

const USAGE: &str = "\
usage: landfall-soak [--kafka HUBS] --kills N [--seed S] [--dir D] [--minutes M]

Without a folder, the nodes are made in a temporary one, which stays only after a violation. With
--kafka, there is one behind one hub or two that share its shards, and the broker is killed, too.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((options, hubs)) = parse(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let temporary = !words.iter().any(|word| word == "--dir");
    println!("seed {}, nodes in {}", options.seed, options.dir.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(until_interrupted(&options, hubs)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => {
            if temporary {
                // What stays of a temporary folder the system clears away.
                let _ = std::fs::remove_dir_all(&options.dir);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("seed {}, nodes in {}: {error}", options.seed, options.dir.display());
            ExitCode::FAILURE
        }
    }
}

/// The processes end when the soak is dropped, so an interrupted one leaves none behind.
async fn until_interrupted(options: &Options, hubs: Option<usize>) -> Result<(), SoakError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    let interrupted = std::io::Error::from(std::io::ErrorKind::Interrupted);
    tokio::select! {
        done = strike(options, hubs) => {
            println!("{}; nothing lost, nothing twice", done?);
            Ok(())
        }
        _ = tokio::signal::ctrl_c() => Err(interrupted.into()),
        _ = terminated.recv() => Err(interrupted.into()),
    }
}

/// `hubs` are those before a Kafka; none if there is no Kafka.
async fn strike(options: &Options, hubs: Option<usize>) -> Result<String, SoakError> {
    Ok(match hubs {
        Some(hubs) => soak::kafka::run(options, hubs).await?.to_string(),
        None => soak::run(options).await?.to_string(),
    })
}

fn parse(words: &[String]) -> Option<(Options, Option<usize>)> {
    let (mut kills, mut seed, mut dir, mut minutes, mut hubs) = (None, None, None, None, None);
    for pair in words.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--kafka" => {
                hubs = Some(value.parse().ok().filter(|hubs| (1..=HUBS_MAX).contains(hubs))?)
            }
            "--kills" => kills = Some(value.parse().ok()?),
            "--seed" => seed = Some(value.parse().ok()?),
            "--dir" => dir = Some(PathBuf::from(value)),
            "--minutes" => minutes = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    let seed = match seed {
        Some(seed) => seed,
        None => landfall::entropy::number().ok()?,
    };
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("landfall-soak-{seed:x}")));
    Some((Options { kills: kills?, seed, dir, minutes, verbose: true }, hubs))
}
