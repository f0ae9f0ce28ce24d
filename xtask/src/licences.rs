//! `cargo xtask licences`: may every dependency be used, and is it new enough?
//!
//! Looks at every package that `cargo metadata` names, for all platforms and for tests too.

mod expression;
mod floors;
mod graph;

use crate::Task;
use crate::shell::{self, Failure};
use expression::Expression;
use graph::Graph;

pub(crate) const TASK: Task = Task {
    name: "licences",
    about: "check the licences and the lowest allowed versions of all dependencies",
    run,
};

/// Licences that ask for no more than a notice.
///
/// MPL-2.0 is missing on purpose: whoever patches such a file for a device must publish it.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    let mut metadata = shell::cargo(&["metadata", "--locked", "--format-version", "1"]);
    let graph = Graph::parse(&shell::output(&mut metadata)?).map_err(Failure::Machine)?;
    let mut offences = licence_offences(&graph);
    offences.extend(floors::offences(&graph)?);
    for offence in &offences {
        println!("{offence}");
    }
    if offences.is_empty() {
        println!("{} packages: licences and versions are allowed", graph.packages().len());
        return Ok(());
    }
    Err(Failure::Check(format!("dependencies that break a rule: {}", offences.len())))
}

fn licence_offences(graph: &Graph) -> Vec<String> {
    let mut offences = Vec::new();
    for package in graph.packages() {
        let problem = match package.licence.as_deref().map(Expression::parse) {
            None => "states no licence".to_owned(),
            Some(Err(error)) => format!("states a licence that cannot be read: {error}"),
            Some(Ok(licence)) if licence.allowed(&|id| ALLOWED.contains(&id)) => continue,
            Some(Ok(_)) => {
                format!("has the licence {}", package.licence.as_deref().unwrap_or_default())
            }
        };
        offences.push(format!(
            "{}: {problem}; replace it, or allow the licence in xtask/src/licences.rs",
            graph.path_to(package)
        ));
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offender_is_named_with_the_path_that_leads_to_it() {
        let graph = Graph::parse(
            r#"{
            "packages": [
                {"id": "a", "name": "agent", "version": "0.1.0", "license": "Apache-2.0",
                 "manifest_path": "/a/Cargo.toml"},
                {"id": "b", "name": "helper", "version": "1.2.3", "license": "MIT OR GPL-3.0",
                 "manifest_path": "/b/Cargo.toml"},
                {"id": "c", "name": "copyleft", "version": "2.0.0", "license": "GPL-3.0-only",
                 "manifest_path": "/c/Cargo.toml"},
                {"id": "d", "name": "silent", "version": "0.0.1", "license": null,
                 "manifest_path": "/d/Cargo.toml"}
            ],
            "workspace_members": ["a"],
            "resolve": {"nodes": [
                {"id": "a", "dependencies": ["b"], "features": []},
                {"id": "b", "dependencies": ["c", "d"], "features": []},
                {"id": "c", "dependencies": [], "features": []},
                {"id": "d", "dependencies": [], "features": []}
            ]}}"#,
        )
        .unwrap();
        let offences = licence_offences(&graph);
        assert_eq!(offences.len(), 2, "{offences:?}");
        assert!(offences[0].starts_with("agent -> helper -> copyleft 2.0.0: has the licence GPL"));
        assert!(offences[1].starts_with("agent -> helper -> silent 0.0.1: states no licence"));
    }
}
