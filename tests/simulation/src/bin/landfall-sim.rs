//! `landfall-sim`: runs fleets from seeds until told, and checks them. `cargo xtask sim` builds and
//! runs it.

use std::process::ExitCode;
use std::time::Duration;

use landfall_simulation::clock::{self, Stopwatch};
use landfall_simulation::fleet::coverage::never_met;
use landfall_simulation::fleet::shrink::shrink;
use landfall_simulation::fleet::{Finding, Plan, run};
use landfall_simulation::world::Tally;

const USAGE: &str = "\
usage: landfall-sim [--seed S] [--seconds N] [--plan FILE] [--verbose] [--no-shrink]

  --seed S      begin with this seed; without --seconds, run only this one
  --seconds N   run one seed after the other for so long (30 without anything else)
  --plan FILE   run the plan in a file, as a violation prints it
  --verbose     print all that happens
  --no-shrink   do not look for a shorter plan that breaks the same rule
";

/// One of so many seeds runs twice, to see the same.
const AGAIN_EVERY: u64 = 16;
/// After so many fleets, all that can be met should have been.
const FLEETS_THAT_MEET_ALL: u64 = 100;
/// So many times as long as was asked for a run goes on for what it has not met.
const PATIENCE: u32 = 4;
/// Runs that may be spent on making a plan shorter.
const SHRINK_RUNS: u32 = 400;

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    seconds: Option<u64>,
    plan: Option<String>,
    verbose: bool,
    no_shrink: bool,
}

#[derive(Default)]
struct Report {
    fleets: u64,
    simulated_ms: u64,
    again: u64,
    tally: Tally,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match &options.plan {
        Some(file) => run_file(file, options.verbose),
        None => run_seeds(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Option<Options> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => options.seed = Some(words.next()?.parse().ok()?),
            "--seconds" => options.seconds = Some(words.next()?.parse().ok()?),
            "--plan" => options.plan = Some(words.next()?.clone()),
            "--verbose" => options.verbose = true,
            "--no-shrink" => options.no_shrink = true,
            _ => return None,
        }
    }
    Some(options)
}

fn run_file(file: &str, verbose: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let plan = Plan::parse(&text).map_err(|error| format!("{file}: {error}"))?;
    let outcome =
        run(&plan, verbose).map_err(|found| format!("{}: {}", found.place, found.text))?;
    println!("every check held; trace {:016x}", outcome.trace);
    Ok(())
}

fn run_seeds(options: &Options) -> Result<(), String> {
    let first = options.seed.unwrap_or_else(clock::fresh_seed);
    let single = options.seed.is_some() && options.seconds.is_none();
    let end = Duration::from_secs(options.seconds.unwrap_or(30));
    println!("seed {first}");
    let (began, mut report) = (Stopwatch::start(), Report::default());
    let passed = || began.elapsed();
    for seed in first.. {
        report.run(seed, options)?;
        // Some are rare: the run goes on until all has been met, but not for ever.
        let over = passed() >= end && (!report.must_meet_all() || report.never_met().is_empty());
        if single || over || passed() >= end * PATIENCE {
            break;
        }
    }
    report.print(passed());
    match report.never_met() {
        missing if !single && report.must_meet_all() && !missing.is_empty() => {
            Err(format!("never met, so not tested: {}", missing.join(", ")))
        }
        _ => Ok(()),
    }
}

impl Report {
    /// Whether there were so many fleets that each fault and each way to recover must be among
    /// them.
    fn must_meet_all(&self) -> bool {
        self.fleets >= FLEETS_THAT_MEET_ALL
    }

    fn never_met(&self) -> Vec<String> {
        never_met(&self.tally)
    }

    fn run(&mut self, seed: u64, options: &Options) -> Result<(), String> {
        let plan = Plan::draw(seed);
        let tell = |found: Finding| tell(seed, &plan, &found, options);
        let outcome = run(&plan, options.verbose).map_err(tell)?;
        self.fleets += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.tally.merge(&outcome.tally);
        if seed.is_multiple_of(AGAIN_EVERY) {
            self.again += 1;
            let again = run(&plan, false).map_err(tell)?;
            if again.trace != outcome.trace {
                return Err(format!("seed {seed}: two runs of it differ"));
            }
        }
        Ok(())
    }

    fn print(&self, took: Duration) {
        print!("{}", self.tally);
        let simulated = Duration::from_millis(self.simulated_ms);
        let ratio = simulated.as_secs_f64() / took.as_secs_f64();
        println!(
            "{} fleets, {} of them twice with the same trace; {:.1} h simulated in {:.1} s, \
             {ratio:.0} times real time; every check held",
            self.fleets,
            self.again,
            simulated.as_secs_f64() / 3_600.0,
            took.as_secs_f64(),
        );
    }
}

/// Tells what was found, and a short plan that finds it.
fn tell(seed: u64, plan: &Plan, found: &Finding, options: &Options) -> String {
    eprintln!("seed {seed}: {}\n{}", found.place, found.text);
    if options.no_shrink {
        return format!("seed {seed} breaks a rule");
    }
    eprintln!("making the plan shorter ...");
    let short = shrink(plan, found, SHRINK_RUNS);
    format!(
        "\n# {}\n{short}\n\
         Seed {seed} breaks a rule. Repeat it with `cargo xtask sim --seed {seed}`, or put the \
         plan above into a file and run `cargo xtask sim --plan FILE --verbose`.",
        found.text.lines().next().unwrap_or_default(),
    )
}
