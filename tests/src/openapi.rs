//! What an OpenAPI document says of an answer, and whether the answer is like that. Only the words
//! of JSON Schema that Landfall's document uses are known; another one is an error.

use serde_json::Value;

/// A document.
#[derive(Clone, Debug)]
pub struct Document(pub Value);

/// An operation of a document: a path's template and a method in lower case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Operation {
    /// Such as `/v1/topics/{topic}/records`.
    pub path: String,
    /// Such as `get`.
    pub method: String,
}

/// The methods that operations have.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

impl Document {
    /// All operations.
    pub fn operations(&self) -> Vec<Operation> {
        let paths = self.0["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item.get(method).is_some());
            methods.map(|method| Operation { path: path.clone(), method: (*method).to_owned() })
        });
        operations.collect()
    }

    /// The operation of a method and a path as it is asked for.
    pub fn operation(&self, method: &str, path: &str) -> Option<Operation> {
        let matches = |template: &str| {
            let (wanted, asked) = (template.split('/'), path.split('/'));
            let same = |(wanted, asked): (&str, &str)| wanted == asked || wanted.starts_with('{');
            wanted.clone().count() == asked.clone().count() && wanted.zip(asked).all(same)
        };
        self.operations().into_iter().find(|one| one.method == method && matches(&one.path))
    }

    /// The statuses that an operation may answer with.
    pub fn statuses(&self, operation: &Operation) -> Vec<String> {
        let responses = self.at(operation)["responses"].as_object();
        responses.into_iter().flatten().map(|(status, _)| status.clone()).collect()
    }

    /// Where and under which name an operation takes parameters, but for those in its path.
    pub fn parameters(&self, operation: &Operation) -> Vec<(String, String)> {
        let listed = self.at(operation)["parameters"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        listed.map(|one| (text(&one["in"]), text(&one["name"]))).collect()
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// What is not as the document says.
    pub fn check(
        &self,
        operation: &Operation,
        status: &str,
        content_type: &str,
        body: &str,
    ) -> Result<(), String> {
        let response = self.resolved(&self.at(operation)["responses"][status]);
        let kind = content_type.split(';').next().unwrap_or_default();
        let content = response["content"].get(kind).ok_or(format!("{kind} is not stated"))?;
        let schema = &content["schema"];
        for part in parts(kind, body)? {
            self.fits(schema, &part).map_err(|wrong| format!("{wrong} in {part}"))?;
        }
        Ok(())
    }

    /// Checks a body that is sent.
    ///
    /// # Errors
    /// What is not as the document says.
    pub fn check_request(&self, operation: &Operation, body: &str) -> Result<(), String> {
        let stated = &self.at(operation)["requestBody"]["content"]["application/json"];
        let Some(schema) = stated.get("schema") else { return Ok(()) };
        let sent = serde_json::from_str(body).map_err(|error| error.to_string())?;
        self.fits(schema, &sent)
    }

    fn at(&self, operation: &Operation) -> &Value {
        &self.0["paths"][&operation.path][&operation.method]
    }

    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str().and_then(|name| name.strip_prefix('#')) {
            Some(pointer) => self.0.pointer(pointer).unwrap_or(&Value::Null),
            None => value,
        }
    }

    /// Whether a value is as a schema says. Fields that are not stated are wrong.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if schema.get("$ref").is_some() {
            return self.fits(self.resolved(schema), value);
        }
        let known = [
            "description",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "oneOf",
            "default",
            "minimum",
            "maximum",
        ];
        let words = schema.as_object().ok_or(format!("{schema} is no schema"))?.keys();
        if let Some(word) = words.into_iter().find(|word| !known.contains(&word.as_str())) {
            return Err(format!("`{word}` is not understood"));
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let wrong: Vec<_> =
                choices.iter().filter_map(|choice| self.fits(choice, value).err()).collect();
            let fitting = choices.len() - wrong.len();
            return if fitting == 1 { Ok(()) } else { Err(format!("{fitting} fit: {wrong:?}")) };
        }
        if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
            return Err(format!("{value} is not listed"));
        }
        if !is_of_type(&schema["type"], value) {
            return Err(format!("{value} is not of type {}", schema["type"]));
        }
        let limit = |word: &str| schema[word].as_f64();
        let number = value.as_f64();
        let below = |least: f64| number.is_some_and(|number| number < least);
        let above = |most: f64| number.is_some_and(|number| number > most);
        if limit("minimum").is_some_and(below) || limit("maximum").is_some_and(above) {
            return Err(format!("{value} is out of range"));
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            values.iter().try_for_each(|value| self.fits(items, value))?;
        }
        self.fields_fit(schema, value)
    }

    fn fields_fit(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let (Some(fields), true) = (value.as_object(), schema.get("type").is_some()) else {
            return Ok(());
        };
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            fields.get(name).ok_or(format!("there is no `{name}`"))?;
        }
        for (name, value) in fields {
            let others = schema.get("additionalProperties");
            let schema = schema["properties"].get(name).or(others);
            let schema = schema.ok_or(format!("`{name}` is not stated"))?;
            self.fits(schema, value).map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        Ok(())
    }
}

/// What a schema is about: the body, each of its lines, or the data of each event.
fn parts(kind: &str, body: &str) -> Result<Vec<Value>, String> {
    let read = |text: &str| serde_json::from_str(text).map_err(|error| format!("{error}: {text}"));
    match kind {
        "application/x-ndjson" => body.lines().map(read).collect(),
        "text/event-stream" => {
            body.lines().filter_map(|line| line.strip_prefix("data: ")).map(read).collect()
        }
        "text/plain" => Ok(vec![Value::from(body)]),
        _ => Ok(vec![read(body)?]),
    }
}

fn is_of_type(stated: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    match stated {
        Value::Null => true,
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_not_stated_or_of_another_type_is_told() {
        let document = Document(json!({"components": {"schemas": {"Name": {"type": "string"}}}}));
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"$ref": "#/components/schemas/Name"},
            "b": {"type": ["integer", "null"], "minimum": 1},
            "c": {"oneOf": [{"type": "array", "items": {"enum": ["x"]}}, {"type": "null"}]}}});
        for right in [json!({"a": ""}), json!({"a": "", "b": null, "c": ["x"]})] {
            assert_eq!(document.fits(&schema, &right), Ok(()));
        }
        for wrong in [
            json!({}),
            json!({"a": 1}),
            json!({"a": "", "d": 1}),
            json!({"a": "", "b": 1.5}),
            json!({"a": "", "b": 0}),
            json!({"a": "", "c": ["y"]}),
            json!([]),
        ] {
            assert!(document.fits(&schema, &wrong).is_err(), "{wrong}");
        }
        let unknown = json!({"type": "string", "pattern": "x"});
        assert!(document.fits(&unknown, &json!("x")).is_err());
    }

    #[test]
    fn a_path_is_found_by_its_template() {
        let document =
            Document(json!({"paths": {"/v1/{a}/b": {"get": {}}, "/v1/c": {"post": {}}}}));
        let found = document.operation("get", "/v1/x/b").map(|one| one.path);
        assert_eq!(found.as_deref(), Some("/v1/{a}/b"));
        assert_eq!(document.operation("post", "/v1/x/b"), None);
        assert_eq!(document.operation("get", "/v1/x/b/c"), None);
    }
}
