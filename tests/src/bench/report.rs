//! Rows of results: printed as they come, and as JSON at the end.

use serde_json::{Value, json};

/// What a result is meant to reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// One result.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which benchmark it is of.
    pub bench: &'static str,
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What the figure is held against, in the same unit and from the same run; the goal is then
    /// about the ratio.
    pub beside: Option<(String, f64)>,
    /// What it should be.
    pub goal: Option<Goal>,
}

impl Row {
    /// A figure that stands for itself.
    #[must_use]
    pub fn new(bench: &'static str, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { bench, what: what.into(), value, unit, beside: None, goal: None }
    }

    /// Holds it against another figure.
    #[must_use]
    pub fn beside(self, what: impl Into<String>, value: f64) -> Self {
        Self { beside: Some((what.into(), value)), ..self }
    }

    /// Says what it should be.
    #[must_use]
    pub fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|(_, other)| self.value / other)
    }

    fn is_met(&self) -> Option<bool> {
        let value = self.ratio().unwrap_or(self.value);
        self.goal.map(|goal| match goal {
            Goal::AtLeast(least) => value >= least,
            Goal::AtMost(most) => value <= most,
        })
    }

    fn line(&self) -> String {
        let mut line = format!("{:<8} {:<58} {:>11}", self.bench, self.what, figure(self.value));
        line.push_str(&format!(" {}", self.unit));
        if let (Some((what, other)), Some(ratio)) = (&self.beside, self.ratio()) {
            line.push_str(&format!(" = {ratio:.3} of {what} ({})", figure(*other)));
        }
        let goal = self.goal.map(|goal| match goal {
            Goal::AtLeast(least) => format!("at least {}", figure(least)),
            Goal::AtMost(most) => format!("at most {}", figure(most)),
        });
        if let (Some(goal), Some(met)) = (goal, self.is_met()) {
            line.push_str(&format!("; goal {goal}: {}", if met { "met" } else { "MISSED" }));
        }
        line
    }

    fn json(&self) -> Value {
        let (beside, beside_value) = self.beside.clone().unzip();
        let (goal, bound) = match self.goal {
            Some(Goal::AtLeast(least)) => (Some("at_least"), Some(least)),
            Some(Goal::AtMost(most)) => (Some("at_most"), Some(most)),
            None => (None, None),
        };
        json!({
            "bench": self.bench, "what": self.what, "value": self.value, "unit": self.unit,
            "beside": beside, "beside_value": beside_value, "ratio": self.ratio(),
            "goal": goal, "bound": bound, "met": self.is_met(),
        })
    }
}

/// A figure with as many digits as mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        most if most >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
            groups.iter().map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
        }
        middle if middle >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// All results of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a result and prints it.
    pub fn add(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        Value::Array(self.rows.iter().map(Row::json).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_about_the_ratio_where_there_is_one() {
        let row = Row::new("bulk", "rate", 70.0, "MB/s").goal(Goal::AtLeast(0.7));
        assert_eq!(row.is_met(), Some(true));
        assert_eq!(row.clone().beside("the disk", 100.0).is_met(), Some(true));
        assert_eq!(row.beside("the disk", 101.0).is_met(), Some(false));
    }

    #[test]
    fn figures_have_groups_of_three_digits() {
        assert_eq!(figure(1_234_567.8), "1,234,568");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(0.25), "0.250");
    }
}
