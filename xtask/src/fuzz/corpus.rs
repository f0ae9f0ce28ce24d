//! The inputs that are kept of a target: few and small, so that everybody checks them out and every
//! test run goes through them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::Failure;

/// Most inputs of a target, and most bytes of all of them. The replay checks the same.
const FILES_MAX: usize = 100;
const BYTES_MAX: u64 = 300 * 1024;

/// Puts what is in `reduced` in place of what is in `corpus`. What a person has named stays.
///
/// # Errors
/// A file can't be read, written or removed.
pub(super) fn replace(corpus: &Path, reduced: &Path) -> Result<(), Failure> {
    let cannot =
        |what: &Path, error| Failure::Machine(format!("cannot change {}: {error}", what.display()));
    let mut named = 0;
    for (path, _) in files(corpus)? {
        if is_named(&path) {
            named += 1;
        } else {
            fs::remove_file(&path).map_err(|error| cannot(&path, error))?;
        }
    }
    for path in chosen(files(reduced)?, FILES_MAX.saturating_sub(named)) {
        let to = corpus.join(path.file_name().unwrap_or_default());
        fs::copy(&path, &to).map_err(|error| cannot(&to, error))?;
    }
    Ok(())
}

/// As many as may be kept, of all lengths.
fn chosen(mut files: Vec<(PathBuf, u64)>, most: usize) -> Vec<PathBuf> {
    files.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    let step = files.len().div_ceil(most.max(1)).max(1);
    // From the longest on: it reaches the most.
    let mut kept: Vec<_> = files.into_iter().rev().step_by(step).take(most).collect();
    while kept.iter().map(|(_, bytes)| bytes).sum::<u64>() > BYTES_MAX {
        kept.remove(0);
    }
    kept.into_iter().map(|(path, _)| path).collect()
}

/// The files of a folder, with their lengths.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let cannot = |error| Failure::Machine(format!("cannot list {}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        files.push((entry.path(), entry.metadata().map_err(cannot)?.len()));
    }
    Ok(files)
}

/// The fuzzer names inputs by their hash, and the program its own by their number.
fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hash = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    !is_hash && !name.starts_with("seed-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_lengths(lengths: impl IntoIterator<Item = u64>) -> Vec<(PathBuf, u64)> {
        lengths.into_iter().map(|len| (PathBuf::from(format!("{len}")), len)).collect()
    }

    #[test]
    fn inputs_of_all_lengths_are_kept_up_to_the_limits() {
        let kept = chosen(of_lengths(0..250), 100);
        assert_eq!((kept.len(), &kept[0]), (84, &PathBuf::from("249")));
        assert_eq!(chosen(of_lengths(0..7), 100).len(), 7);
        let large = chosen(of_lengths([200 * 1024, 150 * 1024, 100 * 1024]), 100);
        assert_eq!(large.len(), 2, "the longest is left out");
        assert!(chosen(of_lengths(0..7), 0).is_empty());
    }

    #[test]
    fn what_a_person_has_named_is_told_from_what_programs_name() {
        assert!(is_named(Path::new("corpus/body/bomb-of-zeros")));
        assert!(!is_named(Path::new("corpus/body/seed-001")));
        assert!(!is_named(Path::new("55ff8adf6c38da60a1055c19f835afc84f0cd9a4")));
    }
}
