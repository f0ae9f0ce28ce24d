//! `landfall-soak`: kills a hub and a device until told, and checks what is left. `cargo xtask
//! soak` builds and runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use landfall_tests::soak::{self, Options, SoakError};

const USAGE: &str = "\
usage: landfall-soak [--kafka] --kills N [--seed S] [--dir D] [--minutes M]

Without a folder, the nodes are made in a temporary one, which stays only after a violation. With
--kafka, first of all words, there is one behind the hub, and the broker is killed, too.
";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let kafka = words.first().is_some_and(|word| word == "--kafka");
    words.drain(..usize::from(kafka));
    let Some(options) = parse(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let temporary = !words.iter().any(|word| word == "--dir");
    println!("seed {}, nodes in {}", options.seed, options.dir.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(until_interrupted(&options, kafka)),
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
async fn until_interrupted(options: &Options, kafka: bool) -> Result<(), SoakError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    let interrupted = std::io::Error::from(std::io::ErrorKind::Interrupted);
    tokio::select! {
        done = strike(options, kafka) => {
            println!("{}; nothing lost, nothing twice", done?);
            Ok(())
        }
        _ = tokio::signal::ctrl_c() => Err(interrupted.into()),
        _ = terminated.recv() => Err(interrupted.into()),
    }
}

async fn strike(options: &Options, kafka: bool) -> Result<String, SoakError> {
    if kafka {
        return Ok(soak::kafka::run(options).await?.to_string());
    }
    Ok(soak::run(options).await?.to_string())
}

fn parse(words: &[String]) -> Option<Options> {
    let (mut kills, mut seed, mut dir, mut minutes) = (None, None, None, None);
    for pair in words.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
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
    Some(Options { kills: kills?, seed, dir, minutes, verbose: true })
}
