//! What SQL may do, by who wrote it: asked by SQLite for everything that a statement touches, while
//! the statement is prepared.
//!
//! A view's rows are to be the same however often they are made anew. So a view's SQL reads and
//! writes the view's own tables, and calls functions whose result depends on nothing but their
//! arguments.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Whose SQL is prepared.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Rule {
    /// The program's own: anything.
    #[default]
    Own,
    /// The DDL of a view: what it makes is added to these names.
    Schema(BTreeSet<String>),
    /// The statements of a view that has these tables.
    Statements(BTreeSet<String>),
    /// Somebody's query: reading, nothing else.
    Query,
    /// The same, and what it reads is added to these names.
    Reading(BTreeSet<String>),
}

/// A connection's rule, and why it refused the latest statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    rule: Rule,
    refused: Option<String>,
}

/// Functions of a view's SQL. A function is not here if it depends on the time, the connection or
/// chance; all of date and time do, for they take `now`.
const FUNCTIONS: [&str; 87] = [
    "->",
    "->>",
    "abs",
    "avg",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "dense_rank",
    "first_value",
    "format",
    "glob",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_insert",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_patch",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "lower",
    "ltrim",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "printf",
    "quote",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "total",
    "trim",
    "typeof",
    "unhex",
    "unicode",
    "unistr",
    "unistr_quote",
    "unlikely",
    "upper",
    "zeroblob",
];
/// Table-valued functions that take a record's JSON apart.
const JSON_TABLES: [&str; 4] = ["json_each", "json_tree", "jsonb_each", "jsonb_tree"];
/// What SQLite writes by itself while a table is made.
const SCHEMA_TABLES: [&str; 3] = ["sqlite_master", "sqlite_schema", "sqlite_sequence"];
/// Pragmas that tell of tables, for who asks.
const QUERY_PRAGMAS: [&str; 7] = [
    "data_version",
    "foreign_key_list",
    "index_info",
    "index_list",
    "table_info",
    "table_list",
    "table_xinfo",
];

impl Guard {
    /// A guard that judges all that `connection` prepares.
    pub(super) fn new(connection: &mut Connection) -> rusqlite::Result<Self> {
        let guard = Self::default();
        let asked = guard.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let mut state = asked.state();
            match judge(&mut state.rule, &context) {
                Ok(()) => Authorization::Allow,
                Err(refused) => {
                    state.refused.get_or_insert(refused);
                    Authorization::Deny
                }
            }
        }))?;
        Ok(guard)
    }

    /// Does `work` under another rule. Returns the rule as it became, the outcome, and what was
    /// refused first.
    pub(super) fn under<T>(
        &self,
        rule: Rule,
        work: impl FnOnce() -> T,
    ) -> (T, Rule, Option<String>) {
        let before = std::mem::replace(&mut self.state().rule, rule);
        self.state().refused = None;
        let outcome = work();
        let mut state = self.state();
        let rule = std::mem::replace(&mut state.rule, before);
        (outcome, rule, state.refused.take())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and if it did, the rule would still be one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a rule allows something; if not, why.
fn judge(rule: &mut Rule, context: &AuthContext<'_>) -> Result<(), String> {
    if *rule == Rule::Own {
        return Ok(());
    }
    if context.database_name.is_some_and(|name| name != "main") {
        return Err(format!("`{}` is another database", context.database_name.unwrap_or_default()));
    }
    match rule {
        Rule::Own => Ok(()),
        Rule::Schema(own) => judge_schema(own, context.action),
        Rule::Statements(own) => judge_statement(own, context.action),
        Rule::Query => judge_query(context.action),
        Rule::Reading(tables) => {
            if let AuthAction::Read { table_name, .. } = context.action {
                tables.insert(table_name.to_lowercase());
            }
            judge_query(context.action)
        }
    }
}

fn judge_schema(own: &mut BTreeSet<String>, action: AuthAction<'_>) -> Result<(), String> {
    match action {
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
        | AuthAction::Read { table_name, .. }
            if SCHEMA_TABLES.contains(&table_name) =>
        {
            Ok(())
        }
        AuthAction::CreateTable { table_name }
        | AuthAction::CreateView { view_name: table_name } => {
            if table_name.starts_with('_') {
                return Err(format!("names with `_` first, as `{table_name}`, are the node's own"));
            }
            own.insert(table_name.to_lowercase());
            Ok(())
        }
        AuthAction::CreateIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. } => own_table(own, table_name),
        AuthAction::Reindex { .. } => Ok(()),
        other => judge_statement(own, other),
    }
}

fn judge_statement(own: &BTreeSet<String>, action: AuthAction<'_>) -> Result<(), String> {
    match action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Function { function_name } => {
            let name = function_name.to_lowercase();
            if FUNCTIONS.contains(&name.as_str()) {
                return Ok(());
            }
            Err(format!(
                "the function `{name}` is not for views: rows must be the same however often they \
                 are made anew"
            ))
        }
        AuthAction::Read { table_name, .. } if JSON_TABLES.contains(&table_name) => Ok(()),
        AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => own_table(own, table_name),
        other => Err(format!("not for views: {}", named(other))),
    }
}

fn own_table(own: &BTreeSet<String>, table: &str) -> Result<(), String> {
    if own.contains(&table.to_lowercase()) {
        return Ok(());
    }
    Err(format!("`{table}` is not a table of this view"))
}

fn judge_query(action: AuthAction<'_>) -> Result<(), String> {
    match action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => Ok(()),
        AuthAction::Function { function_name } if function_name != "load_extension" => Ok(()),
        AuthAction::Pragma { pragma_name, .. } if QUERY_PRAGMAS.contains(&pragma_name) => Ok(()),
        other => Err(format!("a query only reads; not allowed: {}", named(other))),
    }
}

/// What a person calls it.
fn named(action: AuthAction<'_>) -> String {
    match action {
        AuthAction::Attach { .. } => "ATTACH".into(),
        AuthAction::Detach { .. } => "DETACH".into(),
        AuthAction::Pragma { pragma_name, .. } => format!("PRAGMA {pragma_name}"),
        AuthAction::Transaction { .. } => "transactions".into(),
        AuthAction::Savepoint { .. } => "savepoints".into(),
        AuthAction::CreateVtable { module_name, .. } => format!("virtual tables ({module_name})"),
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => format!("writing `{table_name}`"),
        AuthAction::Function { function_name } => format!("the function `{function_name}`"),
        other => {
            // The name of the variant, without what it holds.
            let text = format!("{other:?}");
            text.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}
