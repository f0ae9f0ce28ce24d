//! Versions below which a dependency has a fault that Landfall must not ship.

use super::graph::{Graph, Package};
use crate::shell::{self, Failure};

/// Package, lowest allowed version, and what is wrong below it.
const FLOORS: [(&str, &str, &str); 3] = [
    ("quinn-proto", "0.11.19", "peers can panic it or exhaust its memory"),
    ("rustls", "0.23.46", "it takes handshake messages at the wrong encryption level"),
    ("rustls-webpki", "0.103.13", "its revocation lists and name constraints have holes"),
];

/// SQLite before this one can lose writes when its write-ahead log is reset.
const SQLITE_FLOOR: &str = "3.51.3";

/// Every package below its floor, with what to do; packages that are not used pass.
pub(super) fn offences(graph: &Graph) -> Result<Vec<String>, Failure> {
    let mut offences = Vec::new();
    for package in graph.packages() {
        for (name, floor, fault) in FLOORS {
            if package.name == name && version(&package.version) < version(floor) {
                let path = graph.path_to(package);
                offences.push(format!("{path}: {fault}; `cargo update` it to {floor} or newer"));
            }
        }
        if package.name == "libsqlite3-sys"
            && let Some(fault) = sqlite_fault(package)?
        {
            offences.push(format!("{}: {fault}", graph.path_to(package)));
        }
    }
    Ok(offences)
}

/// What is wrong with the SQLite that this package brings, which its own header tells.
fn sqlite_fault(package: &Package) -> Result<Option<String>, Failure> {
    if !package.features.iter().any(|feature| feature == "bundled") {
        let fault = "links the system's SQLite of any version; switch `bundled` on";
        return Ok(Some(fault.to_owned()));
    }
    let header = shell::read(&package.manifest.with_file_name("sqlite3").join("sqlite3.h"))?;
    let Some(bundled) = sqlite_version(&header) else {
        return Ok(Some("its sqlite3.h names no SQLITE_VERSION; find out which it is".to_owned()));
    };
    Ok((version(bundled) < version(SQLITE_FLOOR)).then(|| {
        format!("bundles SQLite {bundled}; update to one that has {SQLITE_FLOOR} or newer")
    }))
}

fn sqlite_version(header: &str) -> Option<&str> {
    header.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let define = words.next() == Some("#define") && words.next() == Some("SQLITE_VERSION");
        define.then(|| words.next())?.map(|quoted| quoted.trim_matches('"'))
    })
}

/// A version in its order: numbers first, then pre-releases before the release itself.
fn version(text: &str) -> (Vec<u64>, bool) {
    let text = text.split('+').next().unwrap_or(text);
    let (numbers, pre_release) = text.split_once('-').map_or((text, ""), |both| both);
    let numbers = numbers.split('.').map(|number| number.parse().unwrap_or(0)).collect();
    (numbers, pre_release.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number_and_pre_releases_come_before() {
        assert!(version("0.11.9") < version("0.11.19"));
        assert!(version("0.103.13") > version("0.103.9"));
        assert!(version("0.24.0-dev.2") < version("0.24.0"));
        assert!(version("0.24.0-dev.2") > version("0.23.46"));
        assert_eq!(version("1.2.3+build5"), version("1.2.3"));
    }

    #[test]
    fn the_version_of_sqlite_is_read_from_its_header() {
        let header = "/* text */\n#define SQLITE_VERSION        \"3.51.3\"\n\
            #define SQLITE_VERSION_NUMBER 3051003\n";
        assert_eq!(sqlite_version(header), Some("3.51.3"));
        assert_eq!(sqlite_version("#define SQLITE_VERSION_NUMBER 3051003\n"), None);
    }

    #[test]
    fn a_package_below_its_floor_is_named() {
        let json = r#"{"packages": [{"id": "r", "name": "rustls", "version": "0.23.45",
            "license": "MIT", "manifest_path": "/r/Cargo.toml"}],
            "workspace_members": ["r"], "resolve": {"nodes": []}}"#;
        let found = offences(&Graph::parse(json).unwrap()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("rustls 0.23.45: "), "{}", found[0]);
        let newest = json.replace("0.23.45", "0.23.46");
        assert!(offences(&Graph::parse(&newest).unwrap()).unwrap().is_empty());
    }
}
