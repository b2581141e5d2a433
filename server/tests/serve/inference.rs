//! The Open Inference Protocol.

use serde_json::{Value, json};

use crate::running::{Answered, Running};
use crate::tagging::assert_same;

fn request(texts: &[String]) -> Value {
    json!({"id": "7", "inputs": [{"name": "text", "shape": [texts.len()], "datatype": "BYTES", "data": texts}]})
}

/// A request with its texts as bytes, as `tritonclient` sends it.
fn binary(texts: &[String]) -> (usize, Vec<u8>) {
    let bytes: Vec<u8> = texts
        .iter()
        .flat_map(|text| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat())
        .collect();
    let mut request = request(texts);
    let input = request["inputs"][0].as_object_mut().unwrap();
    input.shift_remove("data");
    input.insert("parameters".into(), json!({"binary_data_size": bytes.len()}));
    request["parameters"] = json!({"binary_data_output": true});
    let json = request.to_string().into_bytes();
    (json.len(), [json, bytes].concat())
}

/// The objects in the bytes of an answer.
fn objects(answer: &Answered) -> Vec<Value> {
    let length: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let (json, mut bytes) = answer.body.split_at(length);
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], bytes.len());
    let mut objects = vec![];
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (object, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        objects.push(serde_json::from_slice(object).unwrap());
        bytes = rest;
    }
    objects
}

#[test]
fn both_forms_of_tensors_and_all_addresses_give_the_objects_of_tag() {
    let server = Running::start(&[]);
    let texts: Vec<String> = crate::tagging::texts();
    let expected = server.tag(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    for path in ["/v2/models/lexicon/infer", "/v2/models/lexicon/versions/1/infer"] {
        let answer = server.post(path, request(&texts).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(
            (&answer["model_name"], &answer["model_version"], &answer["id"]),
            (&json!("lexicon"), &json!("1"), &json!("7"))
        );
        assert_eq!(answer["outputs"][0]["shape"], json!([texts.len()]));
        let data = answer["outputs"][0]["data"].as_array().unwrap();
        let found: Vec<Value> =
            data.iter().map(|object| serde_json::from_str(object.as_str().unwrap()).unwrap()).collect();
        assert_same(&found, &expected);

        let (length, body) = binary(&texts);
        let headers = [("inference-header-content-length", &*length.to_string())];
        let answer = server.post_with(path, &headers, body);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
        assert_same(&objects(&answer), &expected);
    }
}

#[test]
fn parameters_choose_offsets_and_scores() {
    let server = Running::start(&[]);
    let mut request = request(&["\u{1F600} paris".to_owned()]);
    request["parameters"] = json!({"offsets": "utf16", "scores": false, "sequence_id": 0});
    let answer = server.post("/v2/models/lexicon/infer", request.to_string()).json();
    let object: Value = serde_json::from_str(answer["outputs"][0]["data"][0].as_str().unwrap()).unwrap();
    assert_eq!((&object["spans"][0]["start"], object.get("score")), (&json!(3), None));
    request["parameters"] = json!({"offsets": "lines"});
    assert_eq!(server.post("/v2/models/lexicon/infer", request.to_string()).status, 400);
}

#[test]
fn more_parameters_than_any_client_sends_are_refused() {
    let server = Running::start(&[]);
    let status = |count: usize| {
        let parameters: serde_json::Map<_, _> = (0..count).map(|at| (format!("p{at}"), json!(at))).collect();
        let input = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": ["paris"]});
        let body = json!({"inputs": [input], "parameters": parameters}).to_string();
        let answer = server.post("/v2/models/lexicon/infer", body);
        assert!(answer.header("content-length").is_some());
        answer.status
    };
    assert_eq!((status(64), status(65)), (200, 400));
    // What is in memory counts until the answer is sent, and no longer.
    assert_eq!(server.metric("hl_request_body_bytes"), 0.0);
}

#[test]
fn the_server_and_its_models_describe_themselves() {
    let server = Running::start(&[]);
    assert_eq!(server.get("/v2").json()["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(server.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").json(), json!({"ready": true}));
    for path in ["/v2/models/lexicon", "/v2/models/lexicon/versions/1"] {
        let model = server.get(path).json();
        assert_eq!(model["inputs"], json!([{"name": "text", "datatype": "BYTES", "shape": [-1]}]));
        assert_eq!(server.get(&format!("{path}/ready")).json(), json!({"name": "lexicon", "ready": true}));
    }
    for path in ["/v2/models/other", "/v2/models/other/ready", "/v2/models/lexicon/versions/2", "/v2/nothing"]
    {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}: {}", answer.text());
    }
    let answer = server.get("/v2/models/%ff");
    assert_eq!((answer.status, answer.json()["error"].is_string()), (400, true));
    let answer = server.post("/v2/models/lexicon/infer", "{}");
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].is_string());
    assert_eq!(server.post("/v2/models/lexicon/versions/2/infer", request(&[]).to_string()).status, 404);
}
