//! ARCHITECTURE.md must name every top-level folder and module, so that nothing is where nobody
//! looks.

use std::collections::BTreeSet;

use super::Offence;
use super::mask::is_word;
use super::source::Source;

pub(super) fn check(map: &str, sources: &[Source], offences: &mut Vec<Offence>) {
    let named = named(map);
    let (mut folders, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for source in sources {
        if let Some((folder, _)) = source.path.split_once('/')
            && folders.insert(folder)
            && !map.contains(&format!("`{folder}/"))
        {
            let text = format!("ARCHITECTURE.md does not name `{folder}/`; add it to the code map");
            offences.push(source.offence(1, "code-map", text));
        }
        let Some((folder, module)) = top_level_module(&source.path) else { continue };
        if seen.insert((folder, module)) && !named.contains(module) {
            let text = format!("ARCHITECTURE.md does not name `{module}`; add it to the code map");
            offences.push(source.offence(1, "code-map", text));
        }
    }
}

/// The words in code spans and code blocks.
fn named(map: &str) -> BTreeSet<&str> {
    let code = map.split('`').skip(1).step_by(2);
    code.flat_map(|span| span.split(|c| !is_word(c))).collect()
}

/// The crate's folder and the module, for a file that is one or lies within one.
fn top_level_module(path: &str) -> Option<(&str, &str)> {
    let (folder, inside) = path.split_once("/src/")?;
    let module = inside.split('/').next()?;
    let module = module.strip_suffix(".rs").unwrap_or(module);
    (!["lib", "main", "bin"].contains(&module)).then_some((folder, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_the_map_leaves_out_is_named_once() {
        let paths = ["a/src/lib.rs", "a/src/journal.rs", "a/src/views.rs", "a/src/views/apply.rs"];
        let sources = paths.map(|path| Source::new(path.to_owned(), String::new()));
        let mut offences = Vec::new();
        check(
            "`a/`: views are here: `journal.rs`\n```\na/src/lib.rs\n```\n",
            &sources,
            &mut offences,
        );
        assert_eq!(offences.len(), 1);
        assert_eq!(offences[0].path, "a/src/views.rs");
    }

    #[test]
    fn a_folder_that_the_map_leaves_out_is_named_once() {
        let paths = ["a/src/lib.rs", "b/c.rs", "b/d/e.rs", "lib.rs"];
        let sources = paths.map(|path| Source::new(path.to_owned(), String::new()));
        let mut offences = Vec::new();
        check("`a/src/`: all that b is", &sources, &mut offences);
        assert_eq!(offences.len(), 1);
        assert_eq!(offences[0].path, "b/c.rs");
    }

    #[test]
    fn words_count_only_as_code() {
        let named = named("prose `one/` more\n```text\ntwo.rs  three\n```\nfour");
        let expected = [("one", true), ("two", true), ("three", true), ("four", false)];
        assert!(expected.iter().all(|(word, found)| named.contains(word) == *found));
    }
}
