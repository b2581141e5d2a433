//! Keys, metrics, ids, the OpenAPI description and the page.

use serde_json::{Value, json};

use crate::running::{Answered, Running, program};
use crate::schema::Description;

/// The addresses with the methods that they take.
fn addresses(description: &Value) -> Vec<(String, String)> {
    let paths = description["paths"].as_object().unwrap();
    let methods = |(path, methods): (&String, &Value)| {
        let names: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
        names.into_iter().map(|method| (path.clone(), method)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

fn concrete(path: &str) -> String {
    path.replace("{model}", "lexicon").replace("{version}", "1")
}

#[test]
fn every_answer_is_as_the_openapi_description_says() {
    let server = Running::start(&["--max-texts", "5", "--split", "never"]);
    let description = Description(server.get("/openapi.json").json());
    let check = |path: &str, method: &str, answer: &Answered| {
        description.check(path, method, answer.status, answer.header("content-type").unwrap(), &answer.body);
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(id.len(), 32);
    };
    for (path, method) in addresses(&description.0) {
        if method == "get" {
            let answer = server.get(&concrete(&path));
            assert_eq!(answer.status, 200, "{path}");
            check(&path, &method, &answer);
            if path.contains('{') {
                let answer = server.get(&path.replace("{model}", "other").replace("{version}", "1"));
                assert_eq!(answer.status, 404);
                check(&path, &method, &answer);
            }
            continue;
        }
        let (good, long) = ("set an alarm for 7 am", "paris ".repeat(30));
        let of = |texts: &[&str]| {
            match path.as_str() {
            "/tag" => json!({ "texts": texts }).to_string(),
            _ => json!({"inputs": [{"name": "text", "shape": [texts.len()], "datatype": "BYTES", "data": texts}]}).to_string(),
        }
        };
        for (body, status) in [
            (of(&[good, &long, "", "forever"]), 200),
            (of(&["a"; 6]), 422),
            ("{".to_owned(), 400),
            (" ".repeat(3 << 20), 413),
        ] {
            let answer = server.post(&concrete(&path), body);
            assert_eq!(answer.status, status, "{path}");
            check(&path, &method, &answer);
            if status == 200 && path != "/tag" {
                for object in answer.json()["outputs"][0]["data"].as_array().unwrap() {
                    description
                        .check_named("Result", &serde_json::from_str(object.as_str().unwrap()).unwrap());
                }
            }
        }
        let answer = server.post_with(&concrete(&path), &[("content-encoding", "gzip")], of(&[good]));
        assert_eq!(answer.status, 415);
        check(&path, &method, &answer);
    }
    let lines = server.post_with("/tag", &[("content-type", "application/x-ndjson")], "\"7 am\"\n[]\n");
    for line in lines.text().lines() {
        description.check_named("Result", &serde_json::from_str(line).unwrap());
    }
    let printed = program().arg("openapi").output().unwrap();
    assert_eq!(printed.stdout, server.get("/openapi.json").body);
}

#[test]
fn the_openapi_description_has_no_reference_that_leads_nowhere_and_no_schema_without_use() {
    let text = String::from_utf8(program().arg("openapi").output().unwrap().stdout).unwrap();
    let description: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&String> = description["components"]["schemas"].as_object().unwrap().keys().collect();
    let used: Vec<&str> =
        text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(used.iter().all(|name| names.iter().any(|known| known == name)), "{used:?}");
    assert!(names.iter().all(|name| used.contains(&name.as_str())), "{names:?}");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn with_keys_only_the_page_the_description_and_health_are_open() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(crate::common::lexicon_tagger(), folder.path().join("lexicon.onnx")).unwrap();
    std::fs::write(folder.path().join("keys"), "secret\n").unwrap();
    let server = Running::of_models(folder, &["lexicon.onnx"], &["--api-key-file", "keys"]);
    let open = [
        "/",
        "/playground.css",
        "/playground.js",
        "/favicon.svg",
        "/openapi.json",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
    ];
    let description = server.get("/openapi.json").json();
    for (path, method) in addresses(&description) {
        let with = |headers: &[(&str, &str)]| match method.as_str() {
            "get" => server.get_with(&concrete(&path), headers),
            _ => server.post_with(&concrete(&path), headers, "{}"),
        };
        let is_open = open.contains(&path.as_str());
        let without = with(&[]);
        assert_eq!(without.status == 401, !is_open, "{path}");
        assert_eq!(without.header("www-authenticate").is_some(), !is_open);
        assert_eq!(with(&[("x-api-key", "wrong")]).status == 401, !is_open, "{path}");
        assert_ne!(with(&[("x-api-key", "secret")]).status, 401, "{path}");
        assert_ne!(with(&[("authorization", "Bearer secret")]).status, 401, "{path}");
        assert_eq!(description["paths"][&path][&method].get("security").is_none(), is_open, "{path}");
    }
    let log = server.stop();
    assert!(!log.iter().any(|event| event.to_string().contains("secret")), "keys are not logged");
}

#[test]
fn metrics_count_requests_texts_batches_and_errors() {
    let server = Running::start(&[]);
    server.tag(&["set an alarm for 7 am", "paris", ""]);
    server.post("/tag", "{");
    let answer = server.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "hl_requests_total{endpoint=\"/tag\",status=\"200\"} 1",
        "hl_requests_total{endpoint=\"/tag\",status=\"400\"} 1",
        "hl_errors_total{kind=\"bad_request\"} 1",
        "hl_texts_total{model=\"lexicon\"} 3",
        "hl_parts_total{model=\"lexicon\"} 2",
        "hl_request_seconds_count{endpoint=\"/tag\"} 2",
        "hl_waiting_texts 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    assert!(server.metric("hl_tokens_total") > 0.0 && server.metric("hl_decoder_passes_total") >= 2.0);
    assert!(server.metric("hl_batch_parts_sum") == 2.0 && server.metric("hl_resident_memory_bytes") > 1e6);
    let many: Vec<String> = (0..50).map(|number| format!("/nothing/{number}")).collect();
    many.iter().for_each(|path| assert_eq!(server.get(path).status, 404));
    assert!(!server.get("/metrics").text().contains("nothing"), "addresses that do not exist share a label");
}

#[test]
fn a_request_keeps_its_id_in_the_answer_and_in_the_log() {
    let server = Running::start(&[]);
    let id = |id: &str| {
        let answer =
            server.post_with("/tag", &[("x-request-id", id)], r#"{"texts": ["paris", "secret words"]}"#);
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id("abc-1"), "abc-1");
    let (spaced, long) = (id("a b"), id(&"x".repeat(200)));
    assert!(spaced.len() == 32 && long.len() == 32, "ids that cannot be logged are replaced");
    let timing = server.post("/tag", r#"{"texts": ["paris"]}"#).header("server-timing").unwrap().to_owned();
    assert!(timing.starts_with("queue;dur=") && timing.contains("tag;dur="), "{timing}");
    let log = server.stop();
    let event = log.iter().find(|event| event["request_id"] == "abc-1").unwrap();
    assert_eq!(
        (&event["status"], &event["texts"], &event["model"]),
        (&json!(200), &json!(2), &json!("lexicon"))
    );
    assert!(!log.iter().any(|event| event.to_string().contains("secret")), "texts are not logged");
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_its_policy_allows_nothing_inline() {
    let server = Running::start(&[]);
    let page = server.get("/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text();
    for (attribute, start) in [("src=\"", "playground"), ("href=\"", "")] {
        for link in text.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(!link.contains("//") && link.starts_with(start), "{link}");
            assert_eq!(server.get(&format!("/{link}")).status, 200, "{link}");
        }
    }
    assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("<script>"));
    let script = server.get("/playground.js").text();
    assert!(!script.contains("innerHTML") && !script.contains("http:") && !script.contains("https:"));
}
