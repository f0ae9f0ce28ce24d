//! `docs/configuration.md`, made from the settings.

use std::fmt::Write as _;

use super::kafka::Kafka;
use super::sections::{Api, Application, Hub, Lane, Log, Node, Serial, Storage, Topic, Upstream};
use super::setting::Setting;

/// One section: its name, what it is for, its settings.
type Section = (&'static str, &'static [&'static str], &'static [Setting]);

const SECTIONS: [Section; 11] = [
    ("", Node::ABOUT, Node::SETTINGS),
    ("upstream", Upstream::ABOUT, Upstream::SETTINGS),
    ("storage", Storage::ABOUT, Storage::SETTINGS),
    ("lane", Lane::ABOUT, Lane::SETTINGS),
    ("topic", Topic::ABOUT, Topic::SETTINGS),
    ("application", Application::ABOUT, Application::SETTINGS),
    ("serial", Serial::ABOUT, Serial::SETTINGS),
    ("api", Api::ABOUT, Api::SETTINGS),
    ("log", Log::ABOUT, Log::SETTINGS),
    ("hub", Hub::ABOUT, Hub::SETTINGS),
    ("kafka", Kafka::ABOUT, Kafka::SETTINGS),
];

const HEAD: &str = "\
# Configuration

A node reads one TOML file: the one named by `--config`, or `landfall.toml` in its data directory.
An empty or missing file is a complete configuration. A key that is not on this page is an error,
and the message names the key that was probably meant.

- **Sizes** are numbers of bytes or text with a unit: `4096`, `\"64KiB\"`, `\"16MiB\"`, `\"1GiB\"`,
  `\"10MB\"`.
- **Durations** are text with a unit: `\"250ms\"`, `\"60s\"`, `\"5m\"`, `\"24h\"`, `\"7d\"`.
- `\"none\"` leaves a setting out where its default is `none`.
- **Environment.** Every key can be overridden by the variable in its row: `LANDFALL_`, then the key
  in capitals with `_` for `.`. Text needs no quotes there, and items of a list stand between
  commas. `LANDFALL_LANE` and `LANDFALL_TOPIC` replace the whole list and are written as in TOML:
  `LANDFALL_TOPIC='[{name = \"ais\", lane = \"urgent\"}]'`. A variable that begins with `LANDFALL_`
  and belongs to no key is an error, except `LANDFALL_DATA` and `LANDFALL_CONFIG`, which stand for
  `--data` and `--config`.

Views are tables `[view.NAME]`, or files `views/NAME.toml` in the data directory with the same keys;
[views.md](views.md) describes them. They have no variables.

This page is made from the program's own descriptions; `UPDATE_DOCS=1 cargo test -p landfall
configuration_page` writes it.
";

/// The page, whole.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for (name, about, settings) in SECTIONS {
        let title = match (name, settings.first().is_some_and(|setting| setting.listed)) {
            ("", _) => "Top of the file".to_owned(),
            (name, true) => format!("`[[{name}]]`"),
            (name, false) => format!("`[{name}]`"),
        };
        line(&mut page, &format!("\n## {title}\n\n{}", sentence(about)));
        for setting in settings {
            describe(&mut page, setting);
        }
    }
    page
}

pub(super) fn all_settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|(_, _, settings)| settings.iter())
}

pub(super) fn find(section: &str, name: &str) -> Option<&'static Setting> {
    all_settings().find(|setting| setting.section == section && setting.name == name)
}

pub(super) fn is_section(name: &str) -> bool {
    section_names().any(|section| section == name)
}

pub(super) fn section_names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|(name, _, _)| *name).filter(|name| !name.is_empty())
}

fn describe(page: &mut String, setting: &Setting) {
    let default = match setting.default {
        "" => "empty".to_owned(),
        default => format!("`{default}`"),
    };
    line(page, &format!("\n### `{}`\n\n{}\n", setting.key(), sentence(setting.meaning)));
    line(page, "| | |\n|---|---|");
    line(page, &format!("| default | {default} |"));
    line(page, &format!("| allowed | {} |", setting.allowed));
    line(page, &format!("| too low | {} |", setting.too_low));
    line(page, &format!("| too high | {} |", setting.too_high));
    line(page, &format!("| environment | `{}` |", setting.variable()));
}

fn line(page: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "{text}");
}

fn sentence(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
