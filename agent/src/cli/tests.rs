//! What people type, and what they get.

mod commands;

use std::ffi::OsString;

use super::*;

fn parsed(line: &str) -> Result<Command, String> {
    let words = line.split_whitespace().map(OsString::from);
    parse(words, &|_| None).map_err(|usage| usage.to_string())
}

#[test]
fn words_become_commands() {
    let Command::Append(append) =
        parsed("append --data d ais in.ndjson --key-field a&b --producer=import --skip-bad")
            .unwrap()
    else {
        panic!("no append");
    };
    assert_eq!(append.query, "key_field=a%26b&producer=import&skip_bad=true");
    assert_eq!(append.file.as_deref(), Some("in.ndjson".as_ref()));
    let Command::Read(read) =
        parsed("read ais --data d --from ship-17/ais/0@4711~ab --max 5 --follow").unwrap()
    else {
        panic!("no read");
    };
    assert_eq!(read.query, "from=ship-17%2Fais%2F0%404711~ab");
    assert_eq!((read.max, read.follow), (Some(5), true));
    let Command::Read(read) =
        parsed("read ais --data d --min-position a-b-1-2 --wait 30s").unwrap()
    else {
        panic!("no read");
    };
    assert_eq!(read.query, "min_position=a-b-1-2&wait_max_ms=30000");
    let Command::Query(query) =
        parsed("query --data d SELECT --live --min-position a/b/0@1 --wait 1m").unwrap()
    else {
        panic!("no query");
    };
    assert_eq!(query.request.min_position.as_deref(), Some("a/b/0@1"));
    assert_eq!((query.request.wait_max_ms, query.live), (60_000, true));
    let Command::Group(group) =
        parsed("group --data d --if-last {\"topic\":\"a\"} --key k --json -").unwrap()
    else {
        panic!("no group");
    };
    assert_eq!(group.conditions, ["{\"topic\":\"a\"}"]);
    assert_eq!((group.file, group.idempotency_key.as_deref()), (None, Some("k")));
    let Command::On(on) = parsed("on --data d orders --pause 2s --reply r -- sh -c x").unwrap()
    else {
        panic!("no program for each record");
    };
    assert_eq!((on.topic.as_str(), on.consumer.as_str()), ("orders", "on-orders"));
    assert_eq!((on.pause.as_secs(), on.reply.as_deref()), (2, Some("r")));
    assert_eq!(on.program, ["sh", "-c", "x"]);
    let Command::Call(call) = parsed("call --data d orders - --reply r --deadline 1h").unwrap()
    else {
        panic!("no call");
    };
    assert_eq!((call.value, call.wait.as_secs(), call.id), (None, 60, None));
    assert_eq!(call.deadline.map(|after| after.as_secs()), Some(3_600));
    let Command::Init(init) =
        parsed("init --data d --site hub --listen [::] --advertise h --join @t").unwrap()
    else {
        panic!("no init");
    };
    assert_eq!(init.listen, Some("[::]:4520".parse().unwrap()));
    assert_eq!(init.join, Some(JoinToken::File("t".into())));
    let Command::Sites(sites) = parsed("sites --data d revoke ship-1").unwrap() else {
        panic!("no sites");
    };
    assert_eq!(sites.action, sites::SitesAction::Revoke("ship-1".to_owned()));
}

#[test]
fn a_wrong_word_is_named_with_what_was_meant() {
    let cases = [
        ("apend", "landfall: there is no command `apend`; did you mean `append`?"),
        ("append --data d ais --produce x", "did you mean `--producer`?"),
        ("append ais", "landfall append: which node? Give its data directory by `--data DIR`"),
        ("append --data d", "which topic?"),
        ("append --data d a b c", "`c` is one word too many"),
        ("read --data d ais --from soon", "`--from soon`: `soon` is not a position"),
        ("read --data d ais --max", "`--max` needs a value"),
        ("read --data d a/b", "`a/b` cannot be a topic"),
        ("token --data d ship-*/x", "no site or pattern"),
        ("token --data d s --valid-for 7", "`7` is no time"),
        ("sites --data d revoke", "revoke which site?"),
        ("query --data d", "ask what?"),
        ("query --data d SELECT --time 5", "`--time 5` is no time"),
        ("query --data d SELECT 1", "`1` is one word too many"),
        ("query --data d SELECT --wait soon", "`--wait soon` is no time"),
        ("group --data d --if-last {", "`--if-last {` is not JSON"),
        ("group --data d --key é", "takes 1 to 255 letters"),
        ("group --data d a b", "`b` is one word too many"),
        ("call --data d", "which topic?"),
        ("call --data d orders 7", "Give the topic that `landfall on --reply` writes"),
        ("call --data d orders go --reply r", "the command is not JSON"),
        ("call --data d orders 7 --reply a/b", "`a/b` cannot be a topic"),
        ("call --data d orders 7 --reply r --id é", "`--id` takes 1 to 250 letters"),
        ("append --data d ais --record", "did you mean `--records`?"),
        ("view --data d", "say `list`, `explain NAME`, `verify NAME` or"),
        ("view --data d explain", "explain which view?"),
        ("view --data d at v", "at which record of which view?"),
        ("view --data d list --accept-loss", "go with `at`"),
        ("sites --data d delete x", "say `revoke SITE`"),
        ("sites --data d rights", "rights which site?"),
        ("sites --data d revoke x --write a", "go with `rights SITE`"),
        ("init --data d --advertise h", "of no use without `--listen`"),
        ("run --data d --untilsynced", "did you mean `--until-synced`?"),
        ("status --data d --follow", "there is no option `--follow`"),
        ("torture --data d", "say either `--write` or `--check`"),
        ("torture --data d --check", "which ledger?"),
        ("torture --data d --check --ledger l --rate 5", "go with `--write`"),
        ("torture --data d --write --hub h", "`--hub` goes with `--check`"),
        ("torture --data d --write --rate 0", "must be at least 1"),
        ("init --data d --config x", "there is no option `--config`"),
    ];
    for (line, expected) in cases {
        let error = parsed(line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
        assert!(error.contains("--help` tells more"), "{error}");
    }
}

#[test]
fn every_command_of_the_help_has_its_own_with_all_its_options() {
    let Ok(Command::Help(help)) = parsed("") else { panic!("no help") };
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help");
        let Ok(Command::Help(own)) = parsed(&format!("{command} --help")) else {
            panic!("{command} has no help")
        };
        assert!(own.contains(&format!("Usage: landfall {command}")));
        assert!(own.lines().all(|line| line.chars().count() <= 102), "{command} has a long line");
        let first_words = own.lines().filter_map(|line| line.split_whitespace().next());
        for option in first_words.filter(|word| word.starts_with("--")) {
            let error = parsed(&format!("{command} {option}")).err().unwrap_or_default();
            assert!(!error.contains("there is no option"), "{command} {option}: {error}");
        }
    }
    assert_eq!(parsed("--version"), Ok(Command::Version));
}

#[test]
fn the_environment_stands_for_the_data_directory() {
    let environment = |name: &str| (name == "LANDFALL_DATA").then(|| OsString::from("/node"));
    let words = ["status", "--json"].map(OsString::from);
    let Ok(Command::Status(status)) = parse(words, &environment) else { panic!("no status") };
    assert_eq!(status.node.data, std::path::Path::new("/node"));
    assert!(status.json);
}
