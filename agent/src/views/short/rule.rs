//! The short form `rule`: each record of a topic that meets a condition becomes a record of another
//! topic, without a table: what streams call filter, map and branch.

use super::*;

/// What `rule` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The topic.
    pub topic: String,
    /// The topics that are derived, each with what must hold for a record to go there.
    pub to: Columns,
    /// The key; the record's own if there is none.
    pub key: Option<String>,
    /// The value; the record's own if there is none.
    pub value: Option<String>,
    /// The value as an object with these fields, in place of `value`.
    pub fields: Option<Columns>,
    /// What must hold for a record to go anywhere; every record does without it.
    pub filter: Option<String>,
}

impl Rule {
    /// The view without rows that this stands for.
    ///
    /// # Errors
    /// Says which expression can't be used.
    pub fn definition(&self, name: &str) -> Result<Definition, String> {
        let or_own = |name: &str, text: &Option<String>| match text {
            Some(text) => expression(name, text),
            None => Ok(format!(":{name}")),
        };
        let key = or_own("key", &self.key)?;
        let value = match &self.fields {
            Some(fields) => object(fields)?,
            None => or_own("value", &self.value)?,
        };
        let filter = condition(self.filter.as_ref())?;
        let mut emit = BTreeMap::new();
        for (topic, holds) in &self.to {
            let holds = match holds.as_str() {
                "true" => holds.clone(),
                _ => expression(topic, holds)?,
            };
            let sql = format!(
                "SELECT {key} AS key,\n  CASE WHEN :value IS NOT NULL THEN {value} END AS value,\n\
                 \x20 :headers AS headers\nWHERE {filter} AND {holds}"
            );
            emit.insert(topic.clone(), vec![sql]);
        }
        let source = Source { emit, ..Source::default() };
        Ok(definition(name, String::new(), [(self.topic.clone(), source)], None))
    }
}

/// An object of JSON; what is taken from the value by a path stays what it is there.
fn object(fields: &Columns) -> Result<String, String> {
    let mut pieces = Vec::new();
    for (name, text) in fields {
        let text = text.trim();
        let made = match text.starts_with('$') {
            true => format!(":value->'{}'", text.replace('\'', "''")),
            false => expression(name, text)?,
        };
        pieces.push(format!("'{}', {made}", name.replace('\'', "''")));
    }
    Ok(format!("json_object({})", list(pieces)))
}
