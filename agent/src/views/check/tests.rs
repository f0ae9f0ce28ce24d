//! What SQL of a view is refused, and why.

use super::*;
use crate::views::definition::Retention;
use crate::views::definition::tests::{LATEST_DDL, LATEST_PUT, definition, latest};
use crate::views::file::ViewFile;

/// A file with a view `other` that has a table of its own.
fn with_other() -> (tempfile::TempDir, ViewFile) {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = ViewFile::open(&folder.path().join("views.db")).unwrap();
    let other = definition(
        "other",
        "CREATE TABLE other(k TEXT PRIMARY KEY)",
        "INSERT INTO other VALUES(:key)",
        &[],
    );
    made(&file, &other).unwrap();
    (folder, file)
}

fn made(file: &ViewFile, definition: &Definition) -> Result<Vec<Object>, String> {
    let made = file.transaction(|connection| create(connection, &file.guard, definition));
    made.map_err(|failure| match failure {
        Failure::Invalid(invalid) => invalid.to_string(),
        Failure::File(error) => panic!("the file refuses: {error}"),
    })
}

/// The table that the statements below write.
const T: &str = "CREATE TABLE t(k TEXT PRIMARY KEY, v, n INTEGER)";

#[test]
fn forbidden_statements_are_refused_with_a_reason() {
    let (_folder, file) = with_other();
    let statements = [
        "INSERT INTO t VALUES(:key, random(), 1)",
        "INSERT INTO t VALUES(:key, randomblob(4), 1)",
        "INSERT INTO t VALUES(:key, datetime('now'), 1)",
        "INSERT INTO t VALUES(:key, date(), 1)",
        "INSERT INTO t VALUES(:key, strftime('%s'), 1)",
        "INSERT INTO t VALUES(:key, unixepoch(), 1)",
        "INSERT INTO t VALUES(:key, julianday('now'), 1)",
        "INSERT INTO t VALUES(:key, time('now'), 1)",
        "INSERT INTO t VALUES(:key, CURRENT_TIMESTAMP, 1)",
        "INSERT INTO t VALUES(:key, current_date, 1)",
        "INSERT INTO t VALUES(:key, last_insert_rowid(), 1)",
        "INSERT INTO t VALUES(:key, changes(), 1)",
        "INSERT INTO t VALUES(:key, total_changes(), 1)",
        "INSERT INTO t VALUES(:key, sqlite_version(), 1)",
        "INSERT INTO t VALUES(:key, load_extension('x'), 1)",
        "INSERT INTO t SELECT :key, (SELECT count(*) FROM other), 1",
        "INSERT INTO t SELECT k, 1, 1 FROM other",
        "INSERT INTO t SELECT name, 1, 1 FROM sqlite_schema",
        "INSERT INTO t SELECT name, 1, 1 FROM pragma_table_info('t')",
        "INSERT INTO t SELECT view, 1, 1 FROM _views",
        "INSERT INTO t SELECT view, 1, 1 FROM _status",
        "INSERT INTO other VALUES(:key)",
        "DELETE FROM other",
        "UPDATE _positions SET commit_no = 0",
        "DELETE FROM _errors",
        "DELETE FROM sqlite_schema",
        "INSERT INTO sqlite_sequence VALUES('t', 1)",
        "ATTACH 'x.db' AS x",
        "DETACH main",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = ON",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "VACUUM",
        "-- tidy up\n/* all */ vacuum",
        "VACUUM INTO 'x.db'",
        "REINDEX",
        "ANALYZE",
        "DROP TABLE t",
        "ALTER TABLE t ADD COLUMN x",
        "CREATE TABLE u(x)",
        "CREATE TEMP TABLE u(x)",
        "EXPLAIN DELETE FROM t",
        "SELECT 1",
        "INSERT INTO t VALUES(:key, 1, 1) RETURNING k",
        "INSERT INTO t VALUES(:key, 1, 1); DELETE FROM t",
        "INSERT INTO t VALUES(?, 1, 1)",
        "INSERT INTO t VALUES(:kee, 1, 1)",
        "INSERT INTO t VALUES(:now, 1, 1)",
        "INSERT INTO t VALUES(\"key\", 1, 1)",
        "",
    ];
    for sql in statements {
        let error = made(&file, &definition("v", T, sql, &[])).unwrap_err();
        assert!(error.starts_with("`on.ais.put`"), "{sql}: {error}");
    }
}

#[test]
fn forbidden_ddl_is_refused_with_a_reason() {
    let (_folder, file) = with_other();
    let ddl = [
        "CREATE TABLE _t(x)",
        "CREATE TABLE other(x)",
        "CREATE TABLE sqlite_t(x)",
        "CREATE TABLE t(x DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE t(x DEFAULT (random()))",
        "CREATE TABLE t(x CHECK(x < random()))",
        "CREATE TABLE t(x, y AS (datetime('now')))",
        "CREATE TABLE t(x); CREATE INDEX i ON other(k)",
        "CREATE TABLE t(x); CREATE INDEX i ON t(random())",
        "CREATE TABLE t(x); CREATE TRIGGER r AFTER INSERT ON other BEGIN DELETE FROM t; END",
        "CREATE TABLE t AS SELECT * FROM other",
        "CREATE TEMP TABLE t(x)",
        "CREATE TABLE t(x); CREATE TEMP TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "CREATE VIRTUAL TABLE t USING fts5(x)",
        "CREATE TABLE t(x); DROP TABLE other",
        "CREATE TABLE t(x); ALTER TABLE other ADD COLUMN x",
        "CREATE TABLE t(x); INSERT INTO other VALUES(1)",
        "CREATE TABLE t(x); PRAGMA user_version = 9",
        "CREATE TABLE t(x); COMMIT",
        "CREATE TABLE t(x); ATTACH 'x.db' AS x",
        "CREATE TABLE t(x); VACUUM",
        "CREATE TABLE t(x); SELECT load_extension('x')",
        "CREATE VIEW t AS SELECT 1",
        "",
    ];
    for ddl in ddl {
        let error = made(&file, &definition("v", ddl, "DELETE FROM t", &[])).unwrap_err();
        assert!(error.starts_with("`ddl`"), "{ddl}: {error}");
    }
    let view = "CREATE TABLE t(x); CREATE VIEW w AS SELECT k FROM other";
    let error = made(&file, &definition("v", view, "INSERT INTO t SELECT k FROM w", &[]));
    assert!(error.unwrap_err().contains("`other` is not a table of this view"));
    let trigger = "CREATE TABLE t(x); \
         CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET x = random(); END";
    let error = made(&file, &definition("v", trigger, "INSERT INTO t VALUES(1)", &[]));
    assert!(error.unwrap_err().contains("the function `random`"));
    assert_eq!(file.stored().unwrap().len(), 0, "nothing of it stayed");
    assert_eq!(objects(&file.connection).unwrap().iter().filter(|o| o.name == "t").count(), 0);
}

#[test]
fn what_views_need_is_permitted() {
    let (_folder, file) = with_other();
    let ddl = "\
        CREATE TABLE t(k TEXT PRIMARY KEY, v, n INTEGER DEFAULT 0); -- the rows\n\
        CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, g AS (upper(k)), k UNIQUE); \
        CREATE UNIQUE INDEX i ON t(n, lower(k)) WHERE n > 0; \
        CREATE TRIGGER r AFTER UPDATE OF n ON t BEGIN \
          INSERT INTO s(k) VALUES(new.k || old.n); END; \
        CREATE VIEW w AS SELECT k, datetime(n / 1000, 'unixepoch') AS at FROM t;";
    let put = [
        "INSERT INTO t VALUES(:key, json_extract(:value, '$.a.b'), length(:origin)) \
         ON CONFLICT(k) DO UPDATE SET v = excluded.v, n = n + 1 WHERE excluded.v > v",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3) \
         INSERT INTO s(k) SELECT printf('%s-%d', :key, x) FROM c",
        "INSERT OR IGNORE INTO s(k) SELECT value->>'$.n' FROM json_each(:value, '$.lines')",
        "UPDATE t SET n = (SELECT count(*) FROM s WHERE s.k = t.k) WHERE k = :topic",
        "REPLACE INTO t SELECT :headers->>'$.unit', max(v), sum(n) FROM t GROUP BY k",
        "DELETE FROM t WHERE k IN (SELECT k FROM (SELECT k, row_number() OVER (ORDER BY n) r \
         FROM t) WHERE r > :offset - :partition - :timestamp);",
    ];
    let mut view = definition("v", ddl, put[0], &["DELETE FROM t WHERE k = :key"]);
    view.sources.get_mut("ais").unwrap().put = put.map(str::to_owned).to_vec();
    let sql = "DELETE FROM t WHERE n < :watermark - :now".to_owned();
    view.retention = Some(Retention { statements: vec![sql], every_ms: 1_000 });
    let made = made(&file, &view).unwrap();
    let names: Vec<_> = made.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["i", "s", "t", "r", "w"]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let (_folder, file) = with_other();
    let error = |ddl: &str, put: &str| made(&file, &definition("v", ddl, put, &[])).unwrap_err();
    assert_eq!(
        error("CREATE TABLE t(x);\n\nCREATE TABL u(x);", "DELETE FROM t"),
        "`ddl`, line 3, column 8: near \"TABL\": syntax error"
    );
    assert_eq!(
        error(T, "INSERT INTO t\n VALUES(:key, :nobody, 1)"),
        "`on.ais.put`: unknown parameter `:nobody`; there are :key, :value, :timestamp, \
         :offset, :partition, :topic, :origin, :headers"
    );
    assert_eq!(
        error(T, "INSERT INTO t\nVALUES(:key, nobody, 1)"),
        "`on.ais.put`, line 2, column 14: no such column: nobody"
    );
    assert!(error(T, "INSERT INTO t VALUES(:kye, 1, 1)").contains("did you mean `:key`?"));
    let other = error(LATEST_DDL, &LATEST_PUT.replace("excluded.at, ", "excluded.ta, "));
    assert!(other.contains("no such column: excluded.ta"), "{other}");
    assert!(made(&file, &latest()).is_ok());
}

#[test]
fn a_query_of_derived_records_is_refused_with_a_reason() {
    let (_folder, file) = with_other();
    let error = |sql: &str| {
        let mut view = definition("v", T, "INSERT INTO t VALUES(:key, 1, 1)", &[]);
        let emit = [("alarms".to_owned(), vec![sql.to_owned()])];
        view.sources.get_mut("ais").unwrap().emit = emit.into();
        made(&file, &view).map(drop)
    };
    let cases = [
        ("DELETE FROM t", "it must be a query (SELECT)"),
        ("SELECT :key AS keys", "no `keys`; did you mean `key`?"),
        ("SELECT :key AS key, 1 AS key", "a column is there twice"),
        ("SELECT 1 AS timestamp", "needs a column `key` or `value`"),
        ("SELECT :kee AS key", "did you mean `:key`?"),
        ("SELECT k AS key FROM other", "`other` is not a table of this view"),
        ("SELECT random() AS key", "the function `random` is not for views"),
        ("SELECT :key AS key; SELECT 1 AS key", "several statements"),
        ("", "there is no statement in it"),
    ];
    for (sql, expected) in cases {
        let error = error(sql).unwrap_err();
        assert!(error.starts_with("`on.ais.emit.alarms`") && error.contains(expected), "{error}");
    }
    assert_eq!(error("SELECT k AS key, :value AS value, :timestamp AS timestamp FROM t"), Ok(()));
}
