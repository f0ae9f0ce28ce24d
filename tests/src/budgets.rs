//! `cross/budgets.toml` for tests that hold a running node to it.

/// The most that a figure may be.
///
/// # Panics
/// The file has no such figure.
pub fn budget(name: &str) -> u64 {
    let text = include_str!("../../cross/budgets.toml");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix("= ["));
    let most = line.and_then(|line| line.split(',').next()?.replace('_', "").parse().ok());
    most.unwrap_or_else(|| panic!("cross/budgets.toml has no `{name}`"))
}
