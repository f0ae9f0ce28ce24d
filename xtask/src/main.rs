//! The project's own tasks: `cargo xtask TASK`.
//!
//! A task is a file of this crate with a `TASK` constant; its line in [`TASKS`] makes it known.

mod bench;
mod budgets;
mod ci;
mod counts;
mod cross;
mod debian;
mod firmware;
mod fuzz;
mod kafka;
mod licences;
mod mutants;
mod package;
mod python;
mod shell;
mod sim;
mod size;
mod soak;
mod stopwatch;
mod targets;
mod test;
mod tidy;

use std::process::ExitCode;

use shell::Failure;

/// What `cargo xtask NAME` runs.
pub(crate) struct Task {
    /// What the user types.
    pub(crate) name: &'static str,
    /// One line for the help.
    pub(crate) about: &'static str,
    /// Does the work with the arguments behind the name.
    pub(crate) run: fn(&[String]) -> Result<(), Failure>,
}

/// All tasks, in the order of the help.
const TASKS: [Task; 14] = [
    test::TASK,
    python::TASK,
    ci::TASK,
    sim::TASK,
    fuzz::TASK,
    kafka::TASK,
    soak::TASK,
    bench::TASK,
    tidy::TASK,
    licences::TASK,
    size::TASK,
    firmware::TASK,
    cross::TASK,
    package::TASK,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", help());
        return Ok(());
    };
    if name == "help" || asks_for_help(name) {
        print!("{}", help());
        return Ok(());
    }
    match TASKS.iter().find(|task| task.name == name) {
        // Before anything is built for it.
        Some(task) if rest.iter().any(|word| asks_for_help(word)) => {
            print!("{}", line(task));
            Ok(())
        }
        Some(task) => (task.run)(rest),
        None => Err(Failure::Usage(unknown(name))),
    }
}

fn asks_for_help(word: &str) -> bool {
    ["-h", "--help"].contains(&word)
}

fn help() -> String {
    let lines: String = TASKS.iter().map(line).collect();
    format!("usage: cargo xtask TASK [ARGUMENTS]\n\n{lines}")
}

fn line(task: &Task) -> String {
    format!("  {:<10}{}\n", task.name, task.about)
}

fn unknown(name: &str) -> String {
    let nearest = TASKS.iter().map(|task| task.name).min_by_key(|known| distance(name, known));
    let nearest = nearest.unwrap_or_default();
    format!("no task `{name}`; did you mean `{nearest}`? `cargo xtask` lists all tasks")
}

/// How many letters must be put in, taken out or changed to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters_put_in_taken_out_and_changed() {
        assert_eq!(distance("tidy", "tidy"), 0);
        assert_eq!(distance("tdy", "tidy"), 1);
        assert_eq!(distance("tests", "test"), 1);
        assert_eq!(distance("", "size"), 4);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn an_unknown_task_is_a_usage_error_that_names_the_nearest() {
        let Err(Failure::Usage(message)) = dispatch(&["licenses".to_owned()]) else {
            panic!("an unknown task was accepted");
        };
        assert!(message.contains("did you mean `licences`"), "{message}");
    }

    #[test]
    fn the_help_lists_every_task() {
        let help = help();
        assert!(TASKS.iter().all(|task| help.contains(task.name) && help.contains(task.about)));
    }
}
