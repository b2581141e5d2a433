//! Checks JSON against the schemas of the OpenAPI description: the keywords that it uses.

use serde_json::Value;

/// The description.
pub(crate) struct Description(pub(crate) Value);

impl Description {
    /// Checks that an answer is described: its address, method, status and content.
    pub(crate) fn check(&self, path: &str, method: &str, status: u16, kind: &str, body: &[u8]) {
        let response = &self.0["paths"][path][method]["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} is not described to answer {status}");
        let kind = kind.split(';').next().unwrap();
        let schema = &response["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} is not described to answer {kind}");
        if kind == "application/json" && path != "/openapi.json" {
            let value: Value = serde_json::from_slice(body).unwrap();
            self.validate(schema, &value, &format!("{method} {path} {status}"));
        }
    }

    /// Checks a value of a named schema.
    pub(crate) fn check_named(&self, name: &str, value: &Value) {
        self.validate(&self.0["components"]["schemas"][name], value, name);
    }

    fn validate(&self, schema: &Value, value: &Value, at: &str) {
        let faults = self.faults(schema, value, at);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        if let Some(name) = schema["$ref"].as_str() {
            let schema = &self.0["components"]["schemas"][name.rsplit('/').next().unwrap()];
            assert!(schema.is_object(), "{at}: no schema {name}");
            return self.faults(schema, value, at);
        }
        let mut faults = Vec::new();
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting = choices.iter().filter(|choice| self.faults(choice, value, at).is_empty()).count();
            faults.extend((fitting != 1).then(|| format!("{at}: {fitting} schemas fit {value}")));
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        let is_of = |name: &&str| match *name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("{at}: unknown type {other}"),
        };
        if !types.is_empty() && !types.iter().any(is_of) {
            faults.push(format!("{at}: {value} is not {}", types.join(" or ")));
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.contains(value)
        {
            faults.push(format!("{at}: {value} is not one of {known:?}"));
        }
        if let Some(object) = value.as_object() {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|name| !object.contains_key(*name));
            faults.extend(missing.map(|name| format!("{at}: {name} is missing")));
            for (name, value) in object {
                match &schema["properties"][name] {
                    Value::Null if schema["additionalProperties"] == false => {
                        faults.push(format!("{at}: {name} is not described"));
                    }
                    Value::Null => {}
                    schema => faults.extend(self.faults(schema, value, &format!("{at}.{name}"))),
                }
            }
        }
        if let (Some(values), schema @ Value::Object(_)) = (value.as_array(), &schema["items"]) {
            let of_item = |(index, value)| self.faults(schema, value, &format!("{at}[{index}]"));
            faults.extend(values.iter().enumerate().flat_map(of_item));
        }
        faults
    }
}
