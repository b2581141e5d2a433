//! Tensors of the Open Inference Protocol: texts in, objects out, as JSON or as bytes after it.
//!
//! In the binary extension, a body is JSON, whose length the header `Inference-Header-Content-Length` tells, and then the bytes
//! of the tensors in their order. Each element of a BYTES tensor is its length in 4 bytes, little-endian, and its bytes.

use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::problem::Problem;

/// The header with the length of the JSON.
pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";
/// Name of the input.
pub(crate) const INPUT: &str = "text";
/// Name of the output.
pub(crate) const OUTPUT: &str = "result";

/// Most parameters of a request.
const MOST_PARAMETERS: usize = 64;

/// A request.
#[derive(Debug, Deserialize)]
struct InferenceRequest {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<Tensor>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Inference {
    pub(crate) id: Option<String>,
    pub(crate) texts: Vec<String>,
    shape: Vec<u64>,
    /// Whether the output is sent as bytes.
    is_binary: bool,
    /// The request's parameters.
    pub(crate) parameters: Map<String, Value>,
}

/// The body of an answer, and the length of its JSON if bytes follow it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) body: Vec<u8>,
    pub(crate) json_length: Option<usize>,
}

/// Reads a request.
///
/// # Errors
/// If it is not one, or its tensors are not one input of texts.
pub(crate) fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Inference, Problem> {
    let (json, bytes) = split(headers, body)?;
    let request: InferenceRequest = serde_json::from_slice(json).map_err(|error| {
        Problem::bad_request(format!("the body is not a request of the Open Inference Protocol: {error}"))
    })?;
    let InferenceRequest { id, parameters, inputs, outputs } = request;
    if parameters.len() > MOST_PARAMETERS {
        return Err(Problem::bad_request(format!(
            "the request has {} parameters, the most is {MOST_PARAMETERS}",
            parameters.len()
        )));
    }
    let [input] = &inputs[..] else {
        return Err(Problem::bad_request(format!(
            "the request has {} inputs, expected one, `{INPUT}`",
            inputs.len()
        )));
    };
    if input.name != INPUT || input.datatype != "BYTES" {
        return Err(Problem::bad_request(format!(
            "the input is `{}` of type {}, expected `{INPUT}` of type BYTES",
            input.name, input.datatype
        )));
    }
    let texts = texts(input, bytes)?;
    let elements = input.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    if elements != Some(texts.len() as u64) || input.shape.is_empty() {
        return Err(Problem::bad_request(format!(
            "the input has {} elements, which do not fill its shape {:?}",
            texts.len(),
            input.shape
        )));
    }
    let by_default = flag(&parameters, "binary_data_output")?.unwrap_or(false);
    let is_binary = match &outputs[..] {
        [] => by_default,
        [output] if output.name == OUTPUT => flag(&output.parameters, "binary_data")?.unwrap_or(by_default),
        outputs => {
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            return Err(Problem::bad_request(format!(
                "the request names the outputs {}, expected one, `{OUTPUT}`",
                names.join(", ")
            )));
        }
    };
    Ok(Inference { id, texts, shape: input.shape.clone(), is_binary, parameters })
}

/// JSON and the bytes after it.
fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Problem> {
    let Some(length) = headers.get(JSON_LENGTH) else { return Ok((body, &[])) };
    let number = length.to_str().ok().and_then(|length| length.parse::<usize>().ok());
    number.and_then(|length| body.split_at_checked(length)).ok_or_else(|| {
        Problem::bad_request(format!(
            "`Inference-Header-Content-Length` is {}, and the body has {} bytes",
            String::from_utf8_lossy(length.as_bytes()),
            body.len()
        ))
    })
}

/// A parameter that is true or false.
fn flag(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>, Problem> {
    match parameters.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => {
            Err(Problem::bad_request(format!("parameter `{name}` is {other}, expected true or false")))
        }
    }
}

fn texts(input: &Tensor, bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let size = input.parameters.get("binary_data_size");
    match (&input.data, size) {
        (Some(data), None) if bytes.is_empty() => {
            let mut texts = Vec::new();
            flatten(data, &mut texts)?;
            Ok(texts)
        }
        (None, Some(size)) if size.as_u64() == Some(bytes.len() as u64) => elements(bytes),
        (None, Some(size)) => Err(Problem::bad_request(format!(
            "parameter `binary_data_size` is {size}, and {} bytes follow the JSON",
            bytes.len()
        ))),
        (Some(_), None) => {
            Err(Problem::bad_request(format!("{} bytes follow the JSON, which has `data`", bytes.len())))
        }
        (Some(_), Some(_)) => Err(Problem::bad_request("the input has both `data` and `binary_data_size`")),
        (None, None) => Err(Problem::bad_request("the input has neither `data` nor `binary_data_size`")),
    }
}

/// The strings of lists in lists.
fn flatten(data: &Value, texts: &mut Vec<String>) -> Result<(), Problem> {
    match data {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().try_for_each(|value| flatten(value, texts))?,
        other => return Err(Problem::bad_request(format!("`data` has {other}, expected strings"))),
    }
    Ok(())
}

/// The texts of a BYTES tensor.
fn elements(mut bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let element = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
        });
        let Some((text, rest)) = element else {
            return Err(Problem::bad_request(format!("element {} is cut off", texts.len())));
        };
        let text = std::str::from_utf8(text).map_err(|error| {
            Problem::bad_request(format!("element {} is not UTF-8: {error}", texts.len()))
        })?;
        texts.push(text.to_owned());
        bytes = rest;
    }
    Ok(texts)
}

impl Inference {
    /// The answer with the JSON objects of the texts.
    pub(crate) fn encode(&self, model: &str, version: &str, objects: Vec<String>) -> Encoded {
        let mut output = json!({"name": OUTPUT, "datatype": "BYTES", "shape": self.shape});
        let mut bytes = Vec::new();
        if self.is_binary {
            for object in &objects {
                bytes.extend_from_slice(&u32::try_from(object.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(object.as_bytes());
            }
            output["parameters"] = json!({"binary_data_size": bytes.len()});
        } else {
            output["data"] = objects.into();
        }
        let mut answer = json!({"model_name": model, "model_version": version});
        if let Some(id) = &self.id {
            answer["id"] = id.as_str().into();
        }
        answer["outputs"] = json!([output]);
        let mut body = answer.to_string().into_bytes();
        let json_length = self.is_binary.then_some(body.len());
        body.append(&mut bytes);
        Encoded { body, json_length }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn binary(json: &str, bytes: &[u8]) -> Result<Inference, Problem> {
        let headers = HeaderMap::from_iter([(JSON_LENGTH.parse().unwrap(), HeaderValue::from(json.len()))]);
        decode(&headers, &[json.as_bytes(), bytes].concat())
    }

    fn plain(json: &str) -> Result<Inference, Problem> {
        decode(&HeaderMap::new(), json.as_bytes())
    }

    #[test]
    fn texts_are_the_same_in_json_and_in_bytes() {
        let json = plain(
            r#"{"id":"7","inputs":[{"name":"text","shape":[2,1],"datatype":"BYTES","data":[["a"],["é"]]}]}"#,
        );
        let bytes = binary(
            r#"{"id":"7","inputs":[{"name":"text","shape":[2,1],"datatype":"BYTES","parameters":{"binary_data_size":11}}]}"#,
            b"\x01\0\0\0a\x02\0\0\0\xc3\xa9",
        );
        assert_eq!(json, bytes);
        assert_eq!(json.unwrap().texts, ["a", "\u{e9}"]);
    }

    #[test]
    fn an_output_is_binary_if_the_request_says_so() {
        let request = |more: &str| {
            plain(&format!(
                r#"{{"inputs":[{{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]}}]{more}}}"#
            ))
        };
        let is_binary = |more: &str| request(more).unwrap().is_binary;
        assert!(!is_binary(""));
        assert!(is_binary(r#","parameters":{"binary_data_output":true}"#));
        assert!(is_binary(r#","outputs":[{"name":"result","parameters":{"binary_data":true}}]"#));
        assert!(!is_binary(
            r#","parameters":{"binary_data_output":true},"outputs":[{"name":"result","parameters":{"binary_data":false}}]"#
        ));
        assert!(request(r#","outputs":[{"name":"other"}]"#).is_err());
        assert!(request(r#","parameters":{"binary_data_output":1}"#).is_err());
        let encoded = request(r#","parameters":{"binary_data_output":true}"#).unwrap().encode(
            "m",
            "1",
            vec!["{}".into()],
        );
        let (json, bytes) = encoded.body.split_at(encoded.json_length.unwrap());
        assert_eq!(bytes, b"\x02\0\0\0{}");
        let json: Value = serde_json::from_slice(json).unwrap();
        assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 6);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let input = |more: &str| format!(r#"{{"inputs":[{{"name":"text","datatype":"BYTES",{more}}}]}}"#);
        for bad in [
            input(r#""shape":[2],"data":["a"]"#),
            input(r#""shape":[],"data":["a"]"#),
            input(r#""shape":[18446744073709551615,2],"data":["a"]"#),
            input(r#""shape":[1],"data":[1]"#),
            input(r#""shape":[1]"#),
            input(r#""shape":[0],"parameters":{"binary_data_size":4}"#),
            r#"{"inputs":[]}"#.to_owned(),
            r#"{"inputs":[{"name":"text","datatype":"FP32","shape":[1],"data":["a"]}]}"#.to_owned(),
            r#"{"inputs":[{"name":"words","datatype":"BYTES","shape":[1],"data":["a"]}]}"#.to_owned(),
            String::new(),
        ] {
            assert!(plain(&bad).is_err(), "{bad}");
        }
        let sized =
            |size: usize| input(&format!(r#""shape":[1],"parameters":{{"binary_data_size":{size}}}"#));
        for (json, bytes) in [
            (sized(5), &b"\x01\0\0\0a"[..4]),
            (sized(4), b"\xff\xff\xff\xff"),
            (sized(5), b"\x01\0\0\0\xff"),
            (sized(3), b"\0\0\0"),
        ] {
            assert!(binary(&json, bytes).is_err(), "{json}");
        }
        let too_long = HeaderMap::from_iter([(JSON_LENGTH.parse().unwrap(), HeaderValue::from(9))]);
        assert!(decode(&too_long, b"{}").is_err());
    }
}
