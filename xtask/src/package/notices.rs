//! The libraries that are part of the program, and their licences in full, as these ask for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shell::{self, Failure};

/// What files with the terms of a library begin with.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// The text of the file for all libraries of a build of the program with these features.
pub(super) fn notices(features: &str, triple: &str) -> Result<String, Failure> {
    let mut metadata = shell::cargo(&["metadata", "--locked", "--format-version", "1"]);
    let known = packages(&shell::output(&mut metadata)?).map_err(Failure::Machine)?;
    let mut tree = shell::cargo(&["tree", "--locked", "--package", "landfall", "--target", triple]);
    tree.args(["--no-default-features", "--features", features, "--edges", "normal"]);
    let tree = shell::output(tree.args(["--prefix", "none"]))?;
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list: BTreeMap<&str, &str> = BTreeMap::new();
    for line in tree.lines() {
        // `name v1.2.3`, and what else is said of it.
        let mut words = line.split(' ');
        let named = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some((id, package)) = known.get_key_value(&format!("{} {}", named.0, named.1)) else {
            continue;
        };
        if list.insert(id, &package.licence).is_some() {
            continue;
        }
        for text in texts(&package.folder)? {
            by_text.entry(text).or_default().push(id.clone());
        }
    }
    if list.is_empty() {
        return Err(Failure::Check(format!("`cargo tree` names no library:\n{tree}")));
    }
    let mut whole = String::from("Landfall holds these libraries:\n\n");
    whole.extend(list.iter().map(|(id, licence)| format!("{id}: {licence}\n")));
    for (text, ids) in &by_text {
        whole += &format!("\n{}\n{}:\n\n{}\n", "-".repeat(72), ids.join(", "), text.trim_end());
    }
    Ok(whole)
}

struct Package {
    licence: String,
    folder: PathBuf,
}

/// The packages that are not our own, by `name v1.2.3`.
fn packages(json: &str) -> Result<BTreeMap<String, Package>, String> {
    let root: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let mut packages = BTreeMap::new();
    for package in root["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        if package["source"].is_null() {
            continue;
        }
        let (Some(name), Some(version)) = (text("name"), text("version")) else { continue };
        let manifest = PathBuf::from(text("manifest_path").unwrap_or_default());
        let folder = manifest.parent().unwrap_or(&manifest).to_owned();
        let licence = text("license").unwrap_or_default();
        packages.insert(format!("{name} v{version}"), Package { licence, folder });
    }
    Ok(packages)
}

/// What lies beside a package's manifest and states terms.
fn texts(folder: &Path) -> Result<Vec<String>, Failure> {
    let cannot = |error| Failure::Machine(format!("cannot list {}: {error}", folder.display()));
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if NAMES.iter().any(|start| name.starts_with(start)) && path.is_file() {
            texts.push(shell::read(&path)?.replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_build_are_named_with_their_terms() {
        let text = notices("lean_log", "x86_64-unknown-linux-gnu").unwrap();
        assert!(text.contains("\nquinn v") && text.contains("Permission is hereby granted"));
        assert!(!text.contains("\nrdkafka v"), "Kafka is not in that build");
        assert!(!text.contains("landfall-core v"), "our own crates are no libraries of others");
    }
}
