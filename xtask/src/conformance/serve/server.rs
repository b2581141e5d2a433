//! Starts `hl-serve` and speaks HTTP to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::conformance::program;

/// A running server, which is killed when this is dropped.
pub(in crate::conformance) struct Server {
    child: Child,
    address: String,
    agent: ureq::Agent,
    /// Reads the log to its end: lines that are errors.
    log: Option<JoinHandle<Vec<String>>>,
}

/// An answer: its status, and whether it has `Retry-After`.
#[derive(Debug)]
pub(in crate::conformance) struct Answer {
    pub(in crate::conformance) status: u16,
    pub(in crate::conformance) retry_after: bool,
    pub(in crate::conformance) body: Vec<u8>,
}

impl Server {
    /// A server of all models in a folder.
    pub(in crate::conformance) fn start(models: &Path, options: &[&str]) -> Result<Self> {
        let mut command = program("hl-serve");
        command.args(["--bind", "127.0.0.1:0", "--log-format", "json"]).args(options).arg(models);
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot run hl-serve")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let mut lines = BufReader::new(stderr);
        let address = match address(&mut lines) {
            Ok(address) => address,
            Err(error) => {
                drop(child.kill());
                return Err(error);
            }
        };
        // A panic writes lines that are not JSON.
        let is_error = |line: &String| {
            serde_json::from_str::<Value>(line).map_or(true, |event| event["level"] == "ERROR")
        };
        let errors = move || lines.lines().map_while(Result::ok).filter(is_error).collect();
        let log = Some(std::thread::spawn(errors));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections_per_host(64)
            .timeout_global(Some(Duration::from_secs(120)));
        Ok(Self { child, address, agent: config.build().into(), log })
    }

    pub(in crate::conformance) fn address(&self) -> &str {
        &self.address
    }

    pub(in crate::conformance) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(in crate::conformance) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answer to a request, whatever its status.
    pub(in crate::conformance) fn ask(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let request = self.agent.post(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut response = request.send(body)?;
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
        let retry_after = response.headers().contains_key("retry-after");
        Ok(Answer { status: response.status().as_u16(), retry_after, body })
    }

    /// The JSON of an answer of status 200.
    pub(in crate::conformance) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.ask(path, &[], body.to_string().as_bytes())?;
        ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).context("not JSON")
    }

    /// The sum of a metric over its labels.
    pub(in crate::conformance) fn metric(&self, name: &str) -> Result<f64> {
        let text = self.agent.get(self.url("/metrics")).call()?.body_mut().read_to_string()?;
        let of_metric = |line: &&str| line.split([' ', '{']).next() == Some(name);
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        Ok(text.lines().filter(of_metric).filter_map(value).sum())
    }

    /// Ends the server by SIGTERM. An error in its log is an error.
    pub(in crate::conformance) fn stop(mut self) -> Result<()> {
        let status = std::process::Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "cannot end the server");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        let log = self.log.take().context("no log")?;
        let errors = log.join().map_err(|_| anyhow::anyhow!("the log cannot be read"))?;
        ensure!(errors.is_empty(), "the log has errors: {}", errors[0]);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn address(lines: &mut BufReader<ChildStderr>) -> Result<String> {
    let mut shown = String::new();
    loop {
        let from = shown.len();
        if lines.read_line(&mut shown)? == 0 {
            bail!("hl-serve does not start:\n{shown}");
        }
        if let Some((_, rest)) = shown[from..].split_once("listening on http://") {
            return Ok(rest.split('"').next().unwrap_or_default().to_owned());
        }
    }
}
