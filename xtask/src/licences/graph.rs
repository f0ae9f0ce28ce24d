//! The packages that `cargo metadata` names, and who depends on whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use serde_json::Value;

/// All packages that a build for some platform may use.
pub(super) struct Graph {
    packages: Vec<Package>,
    members: Vec<String>,
    dependencies: BTreeMap<String, Vec<String>>,
}

/// One version of one package.
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licence: Option<String>,
    pub(super) manifest: PathBuf,
    pub(super) features: Vec<String>,
}

impl Graph {
    /// Reads the JSON that `cargo metadata --format-version 1` prints.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(json)
            .map_err(|error| format!("`cargo metadata` printed no JSON: {error}"))?;
        let mut dependencies = BTreeMap::new();
        let mut features = BTreeMap::new();
        for node in list(&root["resolve"], "nodes")? {
            let id = text(node, "id")?;
            dependencies.insert(id.clone(), strings(node, "dependencies")?);
            features.insert(id, strings(node, "features")?);
        }
        let mut packages = Vec::new();
        for package in list(&root, "packages")? {
            let id = text(package, "id")?;
            packages.push(Package {
                name: text(package, "name")?,
                version: text(package, "version")?,
                licence: package["license"].as_str().map(str::to_owned),
                manifest: text(package, "manifest_path")?.into(),
                features: features.remove(&id).unwrap_or_default(),
                id,
            });
        }
        Ok(Self { packages, members: strings(&root, "workspace_members")?, dependencies })
    }

    pub(super) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The shortest way from the workspace to a package, such as `landfall -> quinn -> x 1.2.3`.
    pub(super) fn path_to(&self, package: &Package) -> String {
        let mut waiting: VecDeque<Vec<&str>> =
            self.members.iter().map(|id| vec![id.as_str()]).collect();
        let mut seen = BTreeSet::new();
        while let Some(path) = waiting.pop_front() {
            let Some(&last) = path.last() else { continue };
            if last == package.id {
                let names: Vec<&str> = path.iter().map(|id| self.name(id)).collect();
                return format!("{} {}", names.join(" -> "), package.version);
            }
            if seen.insert(last) {
                for next in self.dependencies.get(last).into_iter().flatten() {
                    waiting.push_back([path.as_slice(), &[next]].concat());
                }
            }
        }
        format!("{} {}", package.name, package.version)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        let package = self.packages.iter().find(|package| package.id == id);
        package.map_or(id, |package| &package.name)
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value[key].as_array().ok_or_else(|| format!("`cargo metadata` printed no list `{key}`"))
}

fn strings(value: &Value, key: &str) -> Result<Vec<String>, String> {
    Ok(list(value, key)?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    let text = value[key].as_str().map(str::to_owned);
    text.ok_or_else(|| format!("`cargo metadata` printed no text `{key}`"))
}
