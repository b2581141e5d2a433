//! How the program ends, and what it does not start with.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::common::lexicon_tagger;
use crate::running::{Running, eventually, program, rest};

/// The status of a request with an id on a connection of its own; none if the server sent nothing.
fn ask(address: std::net::SocketAddr, id: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let head = format!(
        "POST /tag HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok()?;
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    let is_whole = answer.ends_with("]}\n") || answer.contains("\"error\"");
    assert!(answer.is_empty() || is_whole, "cut off: {answer}");
    answer.get(9..12)?.parse().ok()
}

#[test]
fn sigterm_under_load_completes_every_accepted_request_and_ends_with_0() {
    let server = Running::start(&["--batch-size", "2", "--threads", "1"]);
    let answered = Mutex::new(HashSet::new());
    let body = json!({"texts": vec!["set an alarm for 7 am"; 20]}).to_string();
    let address = server.address;
    let (code, log) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (answered, body) = (&answered, &body);
                scope.spawn(move || {
                    // Until the server takes no further connection.
                    let ids = (0..).map(|number| format!("{client}-{number}"));
                    for (id, status) in ids.map_while(|id| Some((id.clone(), ask(address, &id, body)?))) {
                        assert_eq!(status, 200, "{id}");
                        answered.lock().unwrap().insert(id);
                    }
                })
            })
            .collect();
        eventually("there is load", || answered.lock().unwrap().len() > 20);
        server.signal(Signal::TERM);
        let ended = server.end();
        clients.into_iter().for_each(|client| client.join().unwrap());
        ended
    });
    assert_eq!(code, Some(0), "{log:?}");
    let answered = answered.into_inner().unwrap();
    let logged: HashSet<String> = log
        .iter()
        .filter(|event| event["message"] == "request" && event["path"] == "/tag")
        .map(|event| event["request_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(logged.difference(&answered).count(), 0, "accepted, but not answered");
    assert_eq!(logged, answered);
}

#[test]
fn a_request_that_is_being_sent_when_the_server_stops_is_answered() {
    let server = Running::start(&[]);
    let body = r#"{"texts": ["paris"]}"#;
    let head = format!("POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut stream = server.connect(format!("{head}{}", &body[..5]).as_bytes());
    let idle = server.connect(b"");
    // The request has begun when a later one is answered.
    assert_eq!(server.get("/v2/health/ready").status, 200);
    eventually("both connections are open", || server.metric("hl_connections") >= 3.0);
    server.signal(Signal::TERM);
    assert_eq!(rest(idle), "");
    stream.write_all(&body.as_bytes()[5..]).unwrap();
    assert!(rest(stream).starts_with("HTTP/1.1 200 OK"));
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn requests_that_do_not_complete_in_time_are_abandoned_and_the_exit_code_is_1() {
    let server = Running::start(&["--shutdown-timeout", "0.3"]);
    server.expect_errors();
    let stream = server.connect(b"POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    eventually("the connection is open", || server.metric("hl_connections") >= 2.0);
    server.signal(Signal::INT);
    let (code, log) = server.end();
    assert_eq!(code, Some(1), "{log:?}");
    drop(stream);
}

#[test]
fn connections_that_wait_when_the_server_stops_are_answered() {
    let server = Running::start(&["--max-connections", "2"]);
    let body = r#"{"texts": ["paris"]}"#;
    let head = |more: &str| {
        let length = body.len();
        format!("POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{more}\r\n")
    };
    // Their requests have begun: the server asks for the bodies.
    let begun = |_| {
        let mut stream = server.connect(head("expect: 100-continue\r\n").as_bytes());
        let mut asked = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut asked).unwrap();
        stream
    };
    let mut first: Vec<_> = (0..2).map(begun).collect();
    let waiting: Vec<_> = (0..20).map(|_| server.connect((head("") + body).as_bytes())).collect();
    server.signal(Signal::TERM);
    eventually("nothing listens", || TcpStream::connect(server.address).is_err());
    first.iter_mut().for_each(|stream| stream.write_all(body.as_bytes()).unwrap());
    for stream in first.into_iter().chain(waiting) {
        assert!(rest(stream).starts_with("HTTP/1.1 200 OK"));
    }
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn before_the_last_connection_the_server_reports_that_it_is_not_ready() {
    let server = Running::start(&["--drain-delay", "1"]);
    let ready = || server.get("/v2/health/ready").status;
    assert_eq!(ready(), 200);
    server.signal(Signal::TERM);
    eventually("the server is not ready", || ready() == 503);
    let body = r#"{"texts": ["paris"]}"#;
    assert_eq!(ask(server.address, "late", body), Some(200));
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = Running::start(&[]);
    let stream = server.connect(b"POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n");
    eventually("the connection is open", || server.metric("hl_connections") >= 2.0);
    server.signal(Signal::TERM);
    eventually("nothing listens", || TcpStream::connect(server.address).is_err());
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(130));
    drop(stream);
}

/// A file whose copy takes long enough for a signal.
fn write_large(path: &std::path::Path) {
    std::fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
}

/// A server that is loading a large model: its folder, its folder of temporary files, and its process.
fn loading_a_large_model() -> (tempfile::TempDir, std::path::PathBuf, std::process::Child) {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    write_large(&folder.path().join("a.onnx"));
    let mut command = program();
    command.args(["--bind", "127.0.0.1:0", "a.onnx"]).env("TMPDIR", &temporary).current_dir(&folder);
    let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    (folder, temporary, child)
}

#[test]
fn a_signal_while_a_model_is_loaded_leaves_no_copy() {
    let (_folder, temporary, mut child) = loading_a_large_model();
    let copies = || std::fs::read_dir(&temporary).unwrap().count();
    eventually("the model is copied", || copies() > 0);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!((child.wait().unwrap().code(), copies()), (Some(130), 0));

    let server = Running::start(&["--reload-every", "0.05"]);
    write_large(&server.folder.path().join("new"));
    std::fs::rename(server.folder.path().join("new"), server.model()).unwrap();
    eventually("the model is copied", || server.copies() > 0);
    server.expect_errors();
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn copies_of_a_server_that_was_killed_are_removed_and_nothing_else_is() {
    const LOCK: &str = ".hl-serve-lock";
    let (folder, temporary, mut child) = loading_a_large_model();
    let entries = || std::fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path());
    let copies = || entries().filter(|path| path.join(LOCK).exists()).count();
    eventually("the model is copied", || copies() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let others = ["held", "run", "pipe", "empty"].map(|name| temporary.join(format!("hl-serve-{name}")));
    let [held, run, pipe, _] = &others;
    others.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    // Of a server that runs.
    let lock = std::fs::File::create(held.join(LOCK)).unwrap();
    lock.try_lock().unwrap();
    // A run of hl-train has a lock file, too.
    std::fs::write(run.join(".lock"), "").unwrap();
    // Opening it would wait for a writer.
    rustix::fs::mkfifoat(rustix::fs::CWD, pipe.join(LOCK), rustix::fs::Mode::RUSR).unwrap();
    std::os::unix::fs::symlink(held, temporary.join("hl-serve-link")).unwrap();

    std::fs::copy(lexicon_tagger(), folder.path().join("b.onnx")).unwrap();
    let mut check = program();
    check.args(["--check", "b.onnx"]).env("TMPDIR", &temporary).current_dir(&folder);
    assert!(check.output().unwrap().status.success());
    assert!(others.iter().all(|path| path.is_dir()));
    let left: Vec<_> = entries()
        .filter(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"hl-serve-"))
        .collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

/// Exit code and stderr of a call that does not start a server.
fn fails(folder: &std::path::Path, arguments: &str) -> String {
    let output = program().args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines = stderr.lines().filter(|line| !line.contains(" INFO ") && !line.contains(" WARN "));
    let shown = lines.collect::<Vec<_>>().join("\n");
    format!("exit: {}\n{shown}", output.status.code().unwrap())
}

#[test]
fn what_a_server_cannot_start_with_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("empty")).unwrap();
    std::fs::create_dir_all(path("other")).unwrap();
    for name in ["a.onnx", "other/a.onnx", "other/b.onnx"] {
        std::fs::copy(lexicon_tagger(), path(name)).unwrap();
    }
    std::fs::write(path("keys"), "# none\n").unwrap();
    let whole = std::fs::read(lexicon_tagger()).unwrap();
    std::fs::write(path("cut.onnx"), &whole[..whole.len() / 2]).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut shown = Vec::new();
    for arguments in [
        "missing.onnx --bind 127.0.0.1:0 --backend tract",
        "cut.onnx --bind 127.0.0.1:0 --backend tract",
        "empty --bind 127.0.0.1:0",
        "a.onnx other --bind 127.0.0.1:0 --backend tract",
        "name=other --bind 127.0.0.1:0 --backend tract",
        "a.onnx --bind 127.0.0.1:0 --backend tract --api-key-file keys",
        "a.onnx --bind 127.0.0.1:0 --backend tract --decode draft",
        "a.onnx --bind 127.0.0.1:PORT --backend tract",
        "a.onnx --bind localhost",
        "",
    ] {
        let result = fails(folder.path(), &arguments.replace("PORT", &port)).replace(&port, "PORT");
        shown.push(format!("$ hl-serve {arguments}\n{result}"));
    }
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn the_help_lists_the_options() {
    let output = program().arg("--help").output().unwrap();
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn check_opens_the_models_and_prints_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(lexicon_tagger(), folder.path().join("a.onnx")).unwrap();
    let mut check = program();
    check
        .args(["--check", "--backend", "tract", "--output-format", "jsonl", "a.onnx"])
        .current_dir(folder.path());
    let output = check.output().unwrap();
    assert!(output.status.success());
    let model: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&model["name"], &model["labels"]), (&json!("a"), &json!(["date_time", "place"])));
}
