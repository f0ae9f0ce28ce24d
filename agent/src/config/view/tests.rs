//! Views as they are written, rightly and wrongly.

use super::*;
use crate::config::{Config, ConfigFile};

const GOOD: &str = "
[view.speed]
ddl = 'CREATE TABLE speed(mmsi TEXT PRIMARY KEY, sog REAL)'
on_error = 'halt'
[view.speed.on.ais]
put = 'REPLACE INTO speed VALUES(:key, :value)'
delete = ['DELETE FROM speed WHERE mmsi = :key']
[view.speed.retention]
sql = 'DELETE FROM speed WHERE sog < :now'
every = '10m'
";

fn read(text: &str) -> Result<Vec<Definition>, String> {
    let file = ConfigFile::parse(text, Path::new("landfall.toml"));
    let file = file.map_err(|error| error.to_string())?;
    Ok(Config::from_file(&file).map_err(|error| error.to_string())?.views)
}

#[test]
fn a_view_is_read_whole() {
    let views = read(GOOD).unwrap();
    let view = &views[0];
    assert_eq!((views.len(), view.name.as_str()), (1, "speed"));
    assert_eq!((view.on_error, view.topics()), (OnError::Halt, vec!["ais".to_owned()]));
    assert_eq!(view.sources["ais"].delete.len(), 1);
    let retention = view.retention.as_ref().unwrap();
    assert_eq!((retention.every_ms, retention.statements.len()), (600_000, 1));
}

#[test]
fn the_short_form_stands_for_statements() {
    let short = "[view.here.latest]\ntopic = 'ais'\nkey = 'mmsi'\n\
         columns = { lat = '$.lat', sog = '$.sog' }\n";
    let views = read(short).unwrap();
    assert!(views[0].ddl.contains("CREATE VIEW here AS"), "{}", views[0].ddl);
    assert!(views[0].sources["ais"].put[0].contains(":value->>'$.sog'"));
    let cases = [
        ("key =", "kee =", "unknown key `view.here.latest.kee`; did you mean"),
        ("topic = 'ais'", "", "`view.here.latest.topic` is missing"),
        ("'$.lat'", "5", "`view.here.latest.columns.lat` cannot be `integer`"),
        ("'$.lat'", "'lat'", "line 1: `view.here.latest`: `lat`: `lat` is no path"),
        ("[view.here.latest]", "[view.here]\nddl = ''\n[view.here.latest]", "remove the one"),
        ("[view.here.latest]", "[view.here.join]\n[view.here.latest]", "beside `join`"),
    ];
    for (from, to, expected) in cases {
        let error = read(&short.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{from} → {to}: {error}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_was_meant() {
    let cases = [
        ("on_error", "on_eror", "line 4: unknown key `view.speed.on_eror`; did you mean"),
        ("put =", "pit =", "unknown key `view.speed.on.ais.pit`; did you mean"),
        ("every", "evry", "`view.speed.retention.every`?"),
        ("'halt'", "'stop'", "`view.speed.on_error` cannot be `stop`; allowed: `dead_letter`"),
        ("'10m'", "'10'", "a duration from `1s`"),
        ("view.speed]", "view.Speed]", "`view.Speed` cannot be `Speed`"),
        ("ddl =", "ddl = 5 #", "`view.speed.ddl` cannot be `integer`; allowed: text"),
        ("ais]", "'a b']", "`view.speed.on` cannot be `a b`"),
        ("put = 'REPLACE", "put = [] #", "a statement, or a list of statements"),
    ];
    for (from, to, expected) in cases {
        let error = read(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(expected), "{from} → {to}: {error}");
    }
    assert!(read("[view.a]\nddl = ''").unwrap_err().contains("`view.a.on` is missing"));
    assert!(read("view = 5").unwrap_err().contains("`view`"));
}

#[test]
fn the_folder_holds_views_too_and_no_name_is_taken_twice() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join(FOLDER)).unwrap();
    let body = GOOD.replace("view.speed.", "").replace("[view.speed]", "");
    std::fs::write(data.path().join("views/speed.toml"), &body).unwrap();
    std::fs::write(data.path().join("views/notes.txt"), "not a view").unwrap();
    let config = Config::load(None, data.path(), []).unwrap();
    assert_eq!(config.views, read(GOOD).unwrap());
    std::fs::write(data.path().join("landfall.toml"), GOOD).unwrap();
    let error = Config::load(None, data.path(), []).unwrap_err().to_string();
    assert!(error.contains("view `speed` is there twice"), "{error}");
    std::fs::write(data.path().join("views/speed.toml"), "ddll = ''").unwrap();
    let error = Config::load(None, data.path(), []).unwrap_err().to_string();
    assert!(error.contains("speed.toml, line 1: unknown key `view.speed.ddll`"), "{error}");
}

const RULE: &str = "
[view.fast.rule]
topic = 'ais'
to = 'ais.fast'
where = '$.sog > 20'
";

#[test]
fn a_rule_is_a_view_without_rows() {
    let views = read(&RULE.replace("'$.sog > 20'", "\":value->>'$.sog' > 20\"")).unwrap();
    assert!(views[0].is_rule());
    let sql = &views[0].sources["ais"].emit["ais.fast"][0];
    assert!(sql.ends_with("WHERE (:value->>'$.sog' > 20) AND true"), "{sql}");
    let routed = "[view.r.rule]\ntopic = 'ais'\nvalue = { mmsi = '$.mmsi', at = ':timestamp' }\n\
         [view.r.rule.to]\nfast = \":value->>'$.sog' > 20\"\nslow = \":value->>'$.sog' <= 20\"\n";
    let emit = &read(routed).unwrap()[0].sources["ais"].emit;
    assert_eq!(emit.keys().collect::<Vec<_>>(), ["fast", "slow"]);
    let value = "json_object('at', (:timestamp), 'mmsi', :value->'$.mmsi')";
    assert!(emit["slow"][0].contains(value), "{}", emit["slow"][0]);
    let written = "[view.w.on.ais]\nemit.fast = 'SELECT :key AS key'\n";
    assert!(read(written).unwrap()[0].is_rule());
}

#[test]
fn a_derived_topic_has_one_writer_and_does_not_feed_itself() {
    let rule = |name: &str, from: &str, to: &str| {
        format!("[view.{name}.rule]\ntopic = '{from}'\nto = '{to}'\n")
    };
    let (ab, bc, ca) = (rule("x", "a", "b"), rule("y", "b", "c"), rule("z", "c", "a"));
    assert_eq!(read(&(ab.clone() + &bc)).unwrap().len(), 2);
    let own = "[[topic]]\nname = 'b'\nwriters = ['bridge']\n\
         [[application]]\nname = 'bridge'\nuser = 7\n";
    let cases = [
        (
            ab.clone() + &bc + &ca,
            "`view.z`: `a` would be derived from itself without end: \
             a → b (view x) → c (view y) → a (view z)",
        ),
        (rule("x", "a", "a"), "a → a (view x)"),
        (
            ab.clone() + &rule("y", "a.dead", "a"),
            "`view.y`: `a` would be derived from itself without end: \
             a → a.dead (view x) → a (view y)",
        ),
        (rule("x", "a", "b.dead"), "`view.x.rule.to` cannot be `b.dead`"),
        (ab.clone() + &rule("y", "c", "b"), "`view.y`: derives `b`, as `x` does"),
        (own.to_owned() + &ab, "`view.x`: derives `b`, which names `writers`"),
        (rule("x", "a", "_sites"), "`view.x.rule.to` cannot be `_sites`"),
        (rule("x", "a", "b c"), "`view.x.rule.to` cannot be `b c`"),
        ("[view.w.on.a]\nemit = {}\n".to_owned(), "`view.w.on.a.emit.TOPIC` is missing"),
        ("[view.w.on.a]\nemit.b = 5\n".to_owned(), "`view.w.on.a.emit.b` cannot be `integer`"),
        ("[view.w.on.a]\n".to_owned(), "`view.w.on.a.put` is missing"),
    ];
    for (text, expected) in cases {
        let error = read(&text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
