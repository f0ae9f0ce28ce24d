//! Manual pages in roff: one of the program, and one of each command.

use super::manual::{Manual, Opt, Page};

/// The pages by the names of their files.
pub(super) fn pages(manual: &Manual, version: &str) -> Vec<(String, String)> {
    let all = std::iter::once(&manual.program).chain(&manual.commands);
    all.map(|page| (format!("{}.1", full(page)), roff(page, manual, version))).collect()
}

/// `landfall` or `landfall-read`.
fn full(page: &Page) -> String {
    match page.name.as_str() {
        "" => "landfall".to_owned(),
        name => format!("landfall-{name}"),
    }
}

fn roff(page: &Page, manual: &Manual, version: &str) -> String {
    let name = full(page);
    let mut text =
        format!(".TH {} 1 \"\" \"landfall {version}\" \"Landfall\"\n", name.to_uppercase());
    let about = page.about.strip_prefix("Landfall: ").unwrap_or(&page.about);
    text += &format!(".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n", escaped(&name), escaped(about));
    text += &page.usage.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n.br\n");
    text.push('\n');
    if !page.text.is_empty() {
        text += ".SH DESCRIPTION\n";
        text += &page.text.iter().map(|text| paragraph(text)).collect::<Vec<_>>().join(".PP\n");
    }
    text += ".SH OPTIONS\n";
    text += &page.options.iter().map(option).collect::<String>();
    text += ".SH SEE ALSO\n";
    let others = std::iter::once(&manual.program).chain(&manual.commands);
    let others = others.filter(|other| other.name != page.name);
    let others: Vec<_> = others.map(|other| format!(".BR {} (1)", escaped(&full(other)))).collect();
    text + &others.join(",\n") + "\n"
}

/// What is indented stays as it stands; all else is filled.
fn paragraph(text: &str) -> String {
    match text.starts_with("  ") {
        true => format!(".nf\n{}\n.fi\n", escaped(text)),
        false => escaped(text) + "\n",
    }
}

fn option(option: &Opt) -> String {
    let value = match option.value.as_str() {
        "" => String::new(),
        value => format!(" \\fI{}\\fR", escaped(value)),
    };
    format!(".TP\n\\fB{}\\fR{value}\n{}\n", escaped(&option.name), escaped(&option.about))
}

/// Text in which nothing is an instruction.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "\\[u2026]");
    let line = |line: &str| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::manual::tests::small;
    use super::*;

    #[test]
    fn each_command_has_a_page_with_all_its_options() {
        let pages = pages(&small(), "1.2.3");
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["landfall.1", "landfall-read.1", "landfall-run.1"]);
        let read = &pages[1].1;
        let parts = [
            ".TH LANDFALL-READ 1 \"\" \"landfall 1.2.3\"",
            "landfall\\-read \\- Read a topic",
            ".TP\n\\fB\\-\\-min\\-position\\fR \\fIP\\fR\nWait until what is at P has come\n",
            ".BR landfall (1),\n.BR landfall\\-run (1)\n",
        ];
        for part in parts {
            assert!(read.contains(part), "{part} in {read}");
        }
    }

    #[test]
    fn no_text_is_taken_for_an_instruction() {
        assert_eq!(escaped(".so x\n'a\\b"), "\\&.so x\n\\&'a\\eb");
    }
}
