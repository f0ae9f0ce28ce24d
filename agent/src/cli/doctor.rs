//! `landfall doctor`: finds out what stands between this machine and its hub.

mod disk;
mod network;

use std::io::Write;

use serde::Serialize;

use super::status::print_text;
use super::{DoctorOptions, Exit, Failure};
use crate::config::Config;

/// What one check found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
}

#[derive(Serialize)]
struct Findings<'a> {
    ok: bool,
    checks: &'a [Check],
}

/// Checks everything, and writes to `out` what it found.
///
/// # Errors
/// When there is no node or its configuration is wrong.
pub async fn run(options: &DoctorOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let data = &options.node.data;
    let config = Config::load(options.node.config.as_deref(), data, std::env::vars())?;
    let mut checks = network::check(data, &config).await?;
    checks.push(disk::check_sync(data));
    checks.push(disk::check_space(data, &config));
    let ok = checks.iter().all(|check| check.verdict != Verdict::Fail);
    let text = match options.json {
        true => serde_json::to_string(&Findings { ok, checks: &checks }).unwrap_or_default() + "\n",
        false => checks.iter().map(Check::line).collect(),
    };
    print_text(out, &text)?;
    Ok(if ok { Exit::Done } else { Exit::FailedCheck })
}

impl Check {
    fn ok(name: &'static str, seen: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, seen: seen.into(), advice: String::new() }
    }

    fn warn(name: &'static str, seen: impl Into<String>, advice: &str) -> Self {
        Self { name, verdict: Verdict::Warn, seen: seen.into(), advice: advice.into() }
    }

    fn fail(name: &'static str, seen: impl Into<String>, advice: &str) -> Self {
        Self { name, verdict: Verdict::Fail, seen: seen.into(), advice: advice.into() }
    }

    fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        let advice = match self.advice.as_str() {
            "" => String::new(),
            advice => format!("; {advice}"),
        };
        format!("{verdict}  {:<10}  {}{advice}\n", self.name, self.seen)
    }
}
