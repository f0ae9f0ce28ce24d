//! `landfall-cuts`: cuts the power everywhere in traces from seeds, until there were enough cuts.
//! `cargo xtask sim --cuts N` builds and runs it.

use std::process::ExitCode;

use landfall_simulation::clock::{self, Stopwatch};
use landfall_simulation::cuts::{Cuts, cut_everywhere};

const USAGE: &str = "\
usage: landfall-cuts --cuts N [--seed S]

  --cuts N   end behind the trace in which the N-th cut was made
  --seed S   begin with this seed, not with a fresh one; --cuts 1 repeats a single trace
";

/// So often the count is told while it goes on.
const TELL_EVERY: u64 = 100_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((first, cuts)) = parse(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(first, cuts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Option<(u64, u64)> {
    let (mut first, mut cuts) = (clock::fresh_seed(), None);
    for pair in words.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--seed" => first = value.parse().ok()?,
            "--cuts" => cuts = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    cuts.map(|cuts| (first, cuts))
}

fn run(first: u64, enough: u64) -> Result<(), String> {
    let (began, mut all) = (Stopwatch::start(), Cuts::default());
    println!("seed {first}");
    let mut seed = first;
    while all.total() < enough {
        let before = all.total() / TELL_EVERY;
        let found = cut_everywhere(seed).map_err(|text| {
            format!("{text}\nRepeat it with `cargo xtask sim --cuts 1 --seed {seed}`.")
        })?;
        all.merge(&found);
        seed += 1;
        if all.total() / TELL_EVERY > before {
            println!("{} cuts up to seed {}", all.total(), seed - 1);
        }
    }
    print!("{}", all.tally);
    let took = began.elapsed();
    println!(
        "{} power cuts, {} in traces and {} in recoveries, in the traces of the seeds {first} to \
         {}, in {:.1} s; every check held. Go on with --seed {seed}",
        all.total(),
        all.first,
        all.second,
        seed - 1,
        took.as_secs_f64(),
    );
    Ok(())
}
