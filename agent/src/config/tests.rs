//! Files and environments, good and bad, and what comes of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::reference::all_settings;
use super::*;
use crate::quantity::ByteSize;

fn parse(text: &str) -> Result<Config, String> {
    with_environment(text, &[])
}

fn with_environment(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut file =
        ConfigFile::parse(text, Path::new("landfall.toml")).map_err(|e| e.to_string())?;
    file.apply_environment(variables.iter().map(owned)).map_err(|e| e.to_string())?;
    Config::from_file(&file).map_err(|e| e.to_string())
}

#[test]
fn an_empty_file_is_a_complete_configuration() {
    let config = parse("").unwrap();
    assert_eq!(config.storage.segment_bytes, ByteSize(16 << 20));
    assert_eq!(config.storage.keep_acked, Duration::from_secs(86_400));
    assert_eq!(config.upstream.backoff_max, Duration::from_secs(60));
    let lanes: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
    assert_eq!(lanes, ["urgent", "normal"]);
    assert_eq!(config.socket(Path::new("/d")), Path::new("/d/landfall.sock"));
}

#[test]
fn a_full_file_is_read() {
    let config = parse(
        "site = 'ship-17'\nlisten = '[::]'\nadvertise = ['hub.example.org', '10.0.0.1:99']\n\
         [upstream]\naddresses = ['[2001:db8::1]:4520']\nrate_bytes_max = '32KiB'\n\
         [storage]\nsegment_bytes = 1048576\npowersafe = true\n\
         [[lane]]\nname = 'all'\npriority = 3\nbudget_bytes = '2MiB'\non_full = 'drop_oldest'\n\
         [[topic]]\nname = 'ais'\nlane = 'all'\npartitions = 4\nreplicate = 'never'\n",
    )
    .unwrap();
    assert_eq!(config.node.listen.unwrap().port(), 4520);
    assert_eq!(config.node.advertise[0].to_string(), "hub.example.org:4520");
    assert_eq!(config.upstream.addresses[0].to_string(), "[2001:db8::1]:4520");
    assert_eq!(config.upstream.rate_bytes_max, Some(ByteSize(32 << 10)));
    assert_eq!(config.lanes[0].on_full, OnFull::DropOldest);
    assert_eq!(config.topic("ais").unwrap().replicate, Replicate::Never);
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest() {
    let error = parse("site = 'a'\n\n[storage]\nsegmet_bytes = 1\n").unwrap_err();
    assert_eq!(
        error,
        "landfall.toml, line 4: unknown key `storage.segmet_bytes`; did you mean \
         `storage.segment_bytes`?"
    );
    assert!(parse("[storge]\n").unwrap_err().contains("did you mean `storage`?"));
    assert!(parse("[[topic]]\nname='a'\nlanes='b'").unwrap_err().contains("`topic.lane`"));
}

#[test]
fn a_wrong_value_names_key_value_and_what_is_allowed() {
    let error = parse("[storage]\nkeep_acked = '24'\n").unwrap_err();
    assert_eq!(
        error,
        "landfall.toml, line 2: `storage.keep_acked` cannot be `24`; allowed: a duration from \
         `0s` to `3650d`"
    );
    let error = parse("profile = 'big'").unwrap_err();
    assert!(error.contains("`big`; allowed: `device`, `hub`"), "{error}");
    let error = parse("[api]\nconnections_max = 0").unwrap_err();
    assert!(error.contains("a number from 1 to 4096"), "{error}");
    assert!(parse("[storage]\nsegment_bytes = 1.5\n").unwrap_err().contains("`1.5`"));
    assert!(parse("listen = [").unwrap_err().contains("line 1: not valid TOML"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refused = [
        ("advertise = ['h']", "without `listen`"),
        ("[api]\ntcp = '0.0.0.0:1'", "loopback"),
        ("[[topic]]\nname = 'a'\nlane = 'fast'", "none of `urgent`, `normal`"),
        ("[[topic]]\nname = 'a b'", "cannot be a topic"),
        ("[[topic]]\nname = '_sites'", "internal"),
        ("[[topic]]\nname = 'a'\n[[topic]]\nname = 'a'", "twice"),
        ("[[lane]]\nname = 'a'\npriority = 1\nbudget_bytes = '1MiB'", "two segments"),
        ("[[lane]]\npriority = 1", "line 1: `lane.name` is missing"),
        ("lane = []", "1 to 8 lanes"),
        ("lane = 1", "`[[lane]]`"),
        ("[[topic]]\nname = 'a'\nwriters = ['x']", "`x`, which is no `[[application]]`"),
        ("[[application]]\nname = 'x'", "neither `user` nor `token_file`"),
        (
            "[[application]]\nname = 'x'\nuser = 1\n[[application]]\nname = 'y'\nuser = 1",
            "there twice",
        ),
        ("[[serial]]\nkeys_file = 'k'", "either `port` or `tcp`"),
        ("[[serial]]\nport = '/dev/ttyS0'", "line 1: `serial.keys_file` is missing"),
        ("[[serial]]\ntcp = '0.0.0.0:1'\nkeys_file = 'k'", "loopback"),
        ("[[serial]]\nport = 'a'\nbaud = 300\nkeys_file = 'k'", "a number from 9600"),
        (
            "[[serial]]\nport = 'a'\nkeys_file = 'k'\n[[serial]]\nport = 'a'\nkeys_file = 'l'",
            "the same line",
        ),
        ("site = '/'", "cannot be a site"),
    ];
    for (text, expected) in refused {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let config = with_environment(
        "[storage]\nkeep_acked = '1h'",
        &[
            ("LANDFALL_STORAGE_KEEP_ACKED", "2h"),
            ("LANDFALL_UPSTREAM_ADDRESSES", "a.example, b.example:1"),
            ("LANDFALL_TOPIC", "[{name = \"ais\", lane = \"urgent\"}]"),
            ("LANDFALL_SITE", "ship-17"),
            ("LANDFALL_DATA", "/somewhere"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(config.storage.keep_acked, Duration::from_secs(7_200));
    assert_eq!(config.upstream.addresses.len(), 2);
    assert_eq!(config.topic("ais").unwrap().lane, "urgent");
    let error = with_environment("", &[("LANDFALL_STORAGE_KEEP_ACK", "2h")]).unwrap_err();
    assert!(error.contains("`LANDFALL_STORAGE_KEEP_ACKED`"), "{error}");
    let error = with_environment("", &[("LANDFALL_API_TCP", "x")]).unwrap_err();
    assert!(
        error.starts_with("environment variable LANDFALL_API_TCP: `api.tcp` cannot"),
        "{error}"
    );
}

#[test]
fn every_setting_has_its_own_variable() {
    let names: BTreeSet<String> =
        all_settings().filter(|setting| !setting.listed).map(Setting::variable).collect();
    assert_eq!(names.len(), all_settings().filter(|setting| !setting.listed).count());
}

#[test]
fn a_missing_file_is_empty_only_in_the_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Config::load(None, folder.path(), []).is_ok());
    let named = folder.path().join("other.toml");
    let error = Config::load(Some(&named), folder.path(), []).unwrap_err();
    assert!(error.to_string().ends_with("cannot be read: entity not found"), "{error}");
}

#[test]
fn the_configuration_page_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == reference(),
        "docs/configuration.md is not what the settings say; run \
         `UPDATE_DOCS=1 cargo test -p landfall configuration_page`"
    );
}
