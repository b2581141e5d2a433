//! Starts `hl-serve` and speaks HTTP to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::lexicon_tagger;

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The level of a line that is no event.
const NOT_JSON: &str = "not JSON";

/// A server with the model `lexicon`, and how to talk to it.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    log: Option<JoinHandle<Vec<Value>>>,
    expects_errors: AtomicBool,
    agent: ureq::Agent,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// The program with a model in `folder`.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hl-serve"));
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().into()
}

/// Waits until `holds`.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what} does not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Running {
    /// A server in tract with a copy of the lexicon's model and further options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(lexicon_tagger(), folder.path().join("lexicon.onnx")).unwrap();
        Self::of_models(folder, &["lexicon.onnx"], options)
    }

    /// A server of the models in a folder.
    pub(crate) fn of_models(folder: TempDir, models: &[&str], options: &[&str]) -> Self {
        Self::of_command(program(), folder, models, options)
    }

    /// A server that is started by `command`, which takes its arguments.
    pub(crate) fn of_command(
        mut command: Command,
        folder: TempDir,
        models: &[&str],
        options: &[&str],
    ) -> Self {
        let temporary = folder.path().join("temporary");
        std::fs::create_dir(&temporary).unwrap();
        command.env("TMPDIR", temporary);
        command.args(["--bind", "127.0.0.1:0", "--log-format", "json", "--backend", "tract"]).args(options);
        let mut child =
            command.args(models).current_dir(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = channel();
        let log = std::thread::spawn(move || {
            let mut events = Vec::new();
            for line in stderr.lines() {
                let line = line.unwrap();
                // A panic writes lines that are not JSON.
                let fault = || json!({"level": NOT_JSON, "message": line});
                let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| fault());
                if let Some(address) =
                    event["message"].as_str().and_then(|m| m.strip_prefix("listening on http://"))
                {
                    sender.send(address.parse().unwrap()).unwrap_or_default();
                }
                events.push(event);
            }
            events
        });
        let address = wait(&receiver, &mut child);
        let (log, expects_errors) = (Some(log), AtomicBool::new(false));
        Self { child, address, folder, log, expects_errors, agent: agent() }
    }

    /// Allows the log to have errors.
    pub(crate) fn expect_errors(&self) {
        self.expects_errors.store(true, Ordering::Relaxed);
    }

    /// The log of a server that has ended, after a check that it has no errors; none if it was taken.
    fn take_log(&mut self) -> Option<Vec<Value>> {
        let log = self.log.take()?.join().unwrap();
        let is_fault = |event: &&Value| match event["level"].as_str() {
            Some("ERROR") => !self.expects_errors.load(Ordering::Relaxed),
            level => level.is_none() || level == Some(NOT_JSON),
        };
        let fault = log.iter().find(is_fault);
        assert!(fault.is_none(), "the log has {}", fault.unwrap());
        Some(log)
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.folder.path().join("lexicon.onnx")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answered {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answered {
        let request = self.agent.get(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answered(request.call())
    }

    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answered {
        self.post_with(path, &[], body)
    }

    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answered {
        let request = self.agent.post(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answered(request.send(body.as_ref()))
    }

    /// The objects of `/tag` for some texts.
    pub(crate) fn tag(&self, texts: &[&str]) -> Vec<Value> {
        let answer = self.post("/tag", json!({ "texts": texts }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["results"].as_array().unwrap().clone()
    }

    /// A connection that has sent `bytes`.
    pub(crate) fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let of_metric = |line: &&str| line.split([' ', '{']).next() == Some(name);
        text.lines()
            .filter(of_metric)
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The number of copies of models that are loaded.
    pub(crate) fn copies(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("temporary")).unwrap().count()
    }

    /// Waits for the end: the exit code and the log.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Value>) {
        let status = self.child.wait().unwrap();
        assert_eq!(self.copies(), 0, "copies of models are left");
        (status.code(), self.take_log().unwrap())
    }

    /// Asks the server to stop and waits for it.
    pub(crate) fn stop(self) -> Vec<Value> {
        self.signal(Signal::TERM);
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log:?}");
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if !std::thread::panicking() {
            self.take_log();
        }
    }
}

fn wait(address: &Receiver<SocketAddr>, child: &mut Child) -> SocketAddr {
    address.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        drop(child.kill());
        panic!("the server does not start")
    })
}

fn answered(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answered {
    let mut response = result.unwrap();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    Answered { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

/// Everything that the server sends until it closes the connection.
pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too.
    drop(stream.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
