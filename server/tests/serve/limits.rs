//! What is too large, too much or too slow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::common::lexicon_tagger;
use crate::running::{Running, agent, eventually, rest};

#[test]
fn a_body_of_100_mb_is_413_however_it_is_sent_and_takes_no_memory() {
    let server = Running::start(&[]);
    assert_eq!(server.tag(&["paris"]).len(), 1);
    let before = server.metric("hl_resident_memory_bytes");
    let large = vec![b' '; 100 << 20];
    let answer = server.post("/tag", &large);
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"]["hint"].as_str().unwrap().contains("--max-body"));
    assert_eq!(server.post("/v2/models/lexicon/infer", &large).status, 413);

    let mut stream = server
        .connect(b"POST /tag HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    for chunk in large.chunks(1 << 20) {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert!(rest(stream).starts_with("HTTP/1.1 413 "));

    let waiting =
        "POST /tag HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 104857600\r\n\r\n";
    assert!(rest(server.connect(waiting.as_bytes())).starts_with("HTTP/1.1 413 "));
    let line = [("content-type", "application/x-ndjson")];
    let answer = server.post_with("/tag", &line, &large);
    assert_eq!(answer.json()["error"]["kind"], "too_large");
    let grown = server.metric("hl_resident_memory_bytes") - before;
    assert!(grown < f64::from(60 << 20), "{grown} bytes");
    assert_eq!(server.metric("hl_request_body_bytes"), 0.0);
}

#[test]
fn limits_on_texts_tokens_and_memory_are_named() {
    let server = Running::start(&["--max-texts", "3", "--max-tokens", "50", "--max-memory", "5000"]);
    let ask = |texts: &[&str]| server.post("/tag", json!({ "texts": texts }).to_string());
    assert_eq!(ask(&["7"; 3]).status, 200);
    let answer = ask(&["7"; 4]);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["error"]["message"], "the request has 4 texts, the most is 3");
    let answer = ask(&["paris ".repeat(60).as_str()]);
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.json()["error"]["message"],
        "the texts have more than 50 tokens, the most of a request"
    );
    let answer = ask(&["x".repeat(6000).as_str()]);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert_eq!(server.metric("hl_waiting_texts"), 0.0, "refused texts do not wait");

    let lines = format!("\"7\"\n\"{}\"\n\"am\"\n", "paris ".repeat(60));
    let answer = server.post_with("/tag", &[("content-type", "application/x-ndjson")], lines);
    let found: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        found[1]["error"]["message"].as_str().unwrap().starts_with("the text has more than 50 tokens"),
        "{}",
        found[1]
    );
    assert_eq!((&found[0]["text"], &found[2]["text"]), (&json!("7"), &json!("am")));
}

/// Requests that take long: many texts in small batches.
fn heavy(texts: usize) -> String {
    json!({"texts": vec!["set an alarm for 7 am paris ."; texts]}).to_string()
}

const SLOW: [&str; 6] = ["--batch-size", "1", "--threads", "1", "--max-queue", "200"];

#[test]
fn overload_is_429_with_retry_after_and_every_accepted_request_is_answered() {
    let server = Running::start(&SLOW);
    let (accepted, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let answer = server.post("/tag", heavy(50));
                    match answer.status {
                        200 => {
                            let results = answer.json()["results"].as_array().unwrap().clone();
                            assert!(
                                results.len() == 50
                                    && results.iter().all(|object| object["spans"].is_array())
                            );
                            accepted.fetch_add(1, Ordering::Relaxed);
                        }
                        429 => {
                            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
                            assert!(answer.json()["error"]["kind"] == "overload");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            });
        }
    });
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    assert_eq!(server.metric("hl_texts_total"), 50.0 * accepted as f64);
    assert_eq!(server.metric("hl_errors_total"), refused as f64);
}

#[test]
fn long_texts_beyond_what_is_tagged_in_time_are_429_and_the_others_are_answered() {
    let server = Running::start(&[]);
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // One of many texts among clients with long ones.
        for client in 0..60 {
            let (server, statuses) = (&server, &statuses);
            let body = match client {
                20 => heavy(300),
                _ => json!({"texts": ["set an alarm for 7 am paris . ".repeat(300)]}).to_string(),
            };
            scope.spawn(move || {
                let answer = server.post("/tag", body);
                assert!(answer.status == 200 || answer.header("retry-after").is_some(), "{}", answer.text());
                statuses.lock().unwrap().push(answer.status);
            });
        }
    });
    let statuses = statuses.into_inner().unwrap();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200), "{statuses:?}");
    assert_eq!(server.tag(&["paris"]).len(), 1, "what was refused does not count any longer");
}

#[test]
fn a_stream_that_takes_longer_than_the_time_for_a_text_is_answered() {
    let server = Running::start(&["--batch-size", "1", "--threads", "1", "--timeout", "2"]);
    let line = format!("\"{}\"\n", "set an alarm for 7 am paris . ".repeat(300));
    let answer = server.post_with("/tag", &[("content-type", "application/x-ndjson")], line.repeat(12));
    let found: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 12, "{:?}", found.last());
    assert!(found.iter().all(|object| object["spans"].is_array()));
}

#[test]
fn a_long_request_does_not_hold_up_short_ones() {
    let server = Running::start(&["--batch-size", "4", "--threads", "1"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(server.post("/tag", heavy(500)).status, 200);
            done.store(true, Ordering::Relaxed);
        });
        eventually("the long request waits", || server.metric("hl_waiting_texts") > 400.0);
        let short = (0..3).filter(|_| server.tag(&["paris"]).len() == 1).count();
        assert_eq!((short, done.load(Ordering::Relaxed)), (3, false));
    });
}

#[test]
fn connections_that_are_killed_leave_nothing_behind_and_their_texts_are_not_tagged() {
    let server = Running::start(&SLOW);
    server.tag(&["paris"]);
    // The agent's connection is one; others may be about to close.
    let descriptors = || server.metric("hl_open_descriptors");
    let before = descriptors();
    let body = heavy(20);
    let head = format!("POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    for at in 0..200 {
        let whole = format!("{head}{body}");
        // Cut within the headers, within the body, and after it.
        let sent = whole.len() * (at % 5 + 1) / 5;
        drop(server.connect(&whole.as_bytes()[..sent]));
    }
    eventually("all connections end", || server.metric("hl_connections") <= 1.0 && descriptors() <= before);
    eventually("nothing waits", || server.metric("hl_waiting_texts") == 0.0);
    // A request whose texts are being tagged holds its body until they are done.
    eventually("no body is held", || server.metric("hl_request_body_bytes") == 0.0);
    assert_eq!(server.tag(&["paris"])[0]["spans"][0]["label"], "place");
    // 40 requests were sent whole, 800 texts: most were abandoned while others were tagged.
    let tagged = server.metric("hl_parts_total");
    assert!(tagged < 802.0, "{tagged} parts were tagged");
}

#[test]
fn slow_senders_are_cut_off_and_others_are_served() {
    let server = Running::start(&["--io-timeout", "0.5", "--max-connections", "64"]);
    let starts = [
        "",
        "POST /tag HTTP/1.1\r\nhost: a\r\n",
        "POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{\"texts\"",
        "POST /tag HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ncontent-length: 100\r\n\r\n\"7",
    ];
    let streams: Vec<_> = (0..40).map(|at| server.connect(starts[at % 4].as_bytes())).collect();
    assert_eq!(server.tag(&["paris"]).len(), 1);
    for (at, stream) in streams.into_iter().enumerate() {
        let answer = rest(stream);
        match at % 4 {
            2 => assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("slow_sender"), "{answer}"),
            3 => assert!(answer.contains("slow_sender"), "{answer}"),
            _ => assert!(!answer.contains("200 OK"), "{answer}"),
        }
    }
    // A trickle is as slow as silence.
    let mut stream = server.connect(starts[2].as_bytes());
    let trickle = (0..100).take_while(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        stream.write_all(b" ").is_ok()
    });
    assert!(trickle.count() < 100);
    eventually("all connections end", || server.metric("hl_connections") <= 1.0);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = Running::start(&["--io-timeout", "0.5"]);
    let head = "POST /tag HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = server.connect(head.as_bytes());
    stream.set_write_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let line = format!("\"{}\"\n", "paris ".repeat(500));
    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
    // Answers are larger than what is sent: the server's buffers fill up, it stops to read, and then ends the connection.
    while stream.write_all(chunk.as_bytes()).is_ok() {}
    eventually("the connection ends", || server.metric("hl_connections") <= 1.0);
    assert_eq!(server.tag(&["paris"]).len(), 1);
}

#[test]
fn requests_that_are_not_tagged_in_time_are_503_or_504() {
    let server = Running::start(&["--batch-size", "1", "--threads", "1", "--timeout", "0.05"]);
    let statuses: Vec<(u16, String)> = std::thread::scope(|scope| {
        let ask = || {
            let answer = server.post("/tag", heavy(250));
            (answer.status, answer.json()["error"]["kind"].as_str().unwrap_or_default().to_owned())
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let known = [(503, "queue_timeout"), (504, "timeout"), (429, "overload")]
        .map(|(status, kind)| (status, kind.to_owned()));
    assert!(statuses.iter().all(|status| known.contains(status)), "{statuses:?}");
    assert!(statuses.iter().any(|(status, _)| *status > 500), "{statuses:?}");
    eventually("nothing waits", || server.metric("hl_waiting_texts") == 0.0);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = Running::start(&["--max-connections", "2", "--io-timeout", "1"]);
    let mut idle: Vec<_> = (0..2).map(|_| server.connect(b"")).collect();
    // Served as soon as an idle connection is cut off.
    let mut answer = agent().get(server.url("/v2/health/live")).header("connection", "close").call().unwrap();
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "{\"live\":true}\n");
    let mut byte = [0];
    assert!(idle.iter_mut().any(|stream| matches!(stream.read(&mut byte), Ok(0))));
}

#[test]
fn connections_are_as_many_as_the_system_has_open_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(lexicon_tagger(), folder.path().join("lexicon.onnx")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hl-serve")]);
    let server = Running::of_command(shell, folder, &["lexicon.onnx"], &[]);
    let idle: Vec<TcpStream> = (0..30).map(|_| server.connect(b"")).collect();
    assert_eq!(server.get("/v2/health/live").status, 200);
    drop(idle);
    let log = server.stop();
    let is_notice = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|text| text.starts_with("at most 36 connections, not 1024"))
    };
    assert!(log.iter().any(is_notice), "{log:?}");
}
