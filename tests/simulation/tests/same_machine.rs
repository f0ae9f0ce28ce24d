//! The daemon takes no decision that the simulator cannot reach. A node is a machine without clock,
//! threads and sockets; its fields are private, so the daemon changes it only through its public
//! methods, and the worlds of the simulator call each of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn whatever_the_daemon_can_do_to_a_node_the_simulator_does_too() {
    let machine = sources("node/src");
    let changes: BTreeSet<_> = machine.iter().flat_map(|text| changing_methods(text)).collect();
    let simulator =
        [sources("tests/simulation/src/world"), sources("tests/simulation/src/fleet")].concat();
    let called = |method: &str| simulator.iter().any(|text| text.contains(&format!(".{method}(")));
    let missing: Vec<_> = changes.iter().filter(|method| !called(method)).collect();
    assert!(changes.len() > 10, "the methods are found: {changes:?}");
    assert_eq!(missing, Vec::<&String>::new(), "no world of the simulator calls these");
}

/// The public methods that change a `Node`.
fn changing_methods(text: &str) -> Vec<String> {
    let mut methods = Vec::new();
    let mut of_node = false;
    let mut name = None;
    for line in text.lines() {
        if line.starts_with("impl") {
            of_node = line.contains("Node<M, G>");
        }
        if let Some(rest) = line.strip_prefix("    pub fn ").filter(|_| of_node) {
            name = rest.split(['(', '<']).next().map(str::to_owned);
        }
        if line.contains("&mut self") && (line.starts_with("    pub fn ") || is_receiver(line)) {
            methods.extend(name.take());
        }
        if line.ends_with('{') {
            name = None;
        }
    }
    methods
}

fn is_receiver(line: &str) -> bool {
    line.trim() == "&mut self,"
}

fn sources(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut waiting = vec![root.join(folder)];
    let mut texts = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}
