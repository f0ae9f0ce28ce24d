//! `cross/budgets.toml`: how many bytes programs for devices may take.
//!
//! A line is `name = [most, goal]`, and the reason for the figure stands above it.

use crate::shell::{self, Failure};

/// The budgets of all programs.
pub(crate) struct Budgets(Vec<Budget>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Budget {
    name: String,
    /// More is a failure.
    most: u64,
    /// What is to be reached one day.
    goal: u64,
}

impl Budgets {
    /// Reads the file.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::parse(&shell::read(&shell::root().join("cross/budgets.toml"))?)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let lines = text.lines().map(str::trim);
        let said = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let wrong = |line: &str| {
            Failure::Check(format!("cross/budgets.toml: `{line}` is not `name = [most, goal]`"))
        };
        said.map(|line| budget(line).ok_or_else(|| wrong(line))).collect::<Result<_, _>>().map(Self)
    }

    /// A line for people about each figure that is measured elsewhere.
    pub(crate) fn others(&self, measured: &[&str]) -> Vec<String> {
        let others = self.0.iter().filter(|budget| !measured.contains(&budget.name.as_str()));
        let line = |Budget { name, most, goal }: &Budget| {
            let by = match name.split_once('_') {
                Some(("agent", _)) => "`cargo xtask cross` measures it",
                Some(("rss", _)) => "a test holds it, `cargo xtask bench memory views` measures it",
                _ => "a test measures it",
            };
            format!("{name:<28}{:>9}{most:>9}{goal:>9}  {by}", "")
        };
        others.map(line).collect()
    }

    /// A line for people about what was measured.
    ///
    /// # Errors
    /// It is over its budget, or has none.
    pub(crate) fn check(&self, name: &str, bytes: u64) -> Result<String, Failure> {
        let Some(budget) = self.0.iter().find(|budget| budget.name == name) else {
            return Err(Failure::Check(format!("cross/budgets.toml has no `{name}`; add it")));
        };
        let Budget { most, goal, .. } = budget;
        if bytes > *most {
            return Err(Failure::Check(format!(
                "`{name}` takes {bytes} bytes and may take {most}: make it smaller, or raise it in \
                 cross/budgets.toml with the reason"
            )));
        }
        let reached = if bytes <= *goal { "reached" } else { "not reached" };
        Ok(format!("{name:<28}{bytes:>9}{most:>9}{goal:>9}  {reached}"))
    }
}

fn budget(line: &str) -> Option<Budget> {
    let (name, numbers) = line.split_once('=')?;
    let numbers = numbers.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (most, goal) = numbers.split_once(',')?;
    let number = |text: &str| text.trim().replace('_', "").parse().ok();
    Some(Budget { name: name.trim().to_owned(), most: number(most)?, goal: number(goal)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_its_budget_is_a_failure_and_one_over_its_goal_is_not() {
        let budgets = Budgets::parse("# why\nflash = [40_000, 32_768]\n").unwrap();
        assert!(budgets.check("flash", 32_768).unwrap().ends_with("  reached"));
        assert!(budgets.check("flash", 40_000).unwrap().ends_with("  not reached"));
        let Err(Failure::Check(text)) = budgets.check("flash", 40_001) else {
            panic!("a figure over its budget passed");
        };
        assert!(text.contains("`flash` takes 40001 bytes and may take 40000"), "{text}");
        assert!(budgets.check("ram", 1).is_err());
    }

    #[test]
    fn what_is_measured_elsewhere_is_said_to_be() {
        let budgets = Budgets::parse("flash = [2, 1]\nrss_idle = [4, 3]\n").unwrap();
        let others = budgets.others(&["flash"]);
        assert!(others.len() == 1 && others[0].contains("xtask bench"), "{others:?}");
    }

    #[test]
    fn a_line_that_is_no_budget_is_named() {
        let Err(Failure::Check(text)) = Budgets::parse("flash = 40_000\n") else {
            panic!("a wrong line was taken");
        };
        assert!(text.contains("`flash = 40_000`"), "{text}");
    }
}
