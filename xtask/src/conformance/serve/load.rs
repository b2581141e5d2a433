//! The server under load: overload, and mixed traffic for leaks.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::server::Server;

/// Texts of a request under overload.
const TEXTS: usize = 8;
/// Connections that measure the capacity.
const CLIENTS: usize = 16;
/// The load as a multiple of the capacity.
const TIMES: f64 = 5.0;
/// Growth of memory under load that is no leak: buffers and arenas of threads.
const GROWTH_MIB: f64 = 64.0;

/// Resident memory in MiB, and open descriptors.
fn resources(server: &Server) -> Result<(f64, usize)> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.id()))?.count();
    Ok((kib / 1024.0, descriptors))
}

/// Bodies of requests.
fn bodies(sentences: &[String]) -> Vec<Vec<u8>> {
    let body = |texts: &[String]| json!({"texts": texts, "model": "mtop"}).to_string().into_bytes();
    sentences.chunks(TEXTS).map(body).collect()
}

/// Requests per second of clients that wait for each answer.
fn capacity(server: &Server, bodies: &[Vec<u8>]) -> Result<f64> {
    let (count, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (count, failed) = (&count, &failed);
            scope.spawn(move || {
                for body in bodies.iter().cycle().skip(client) {
                    let answer = server.ask("/tag", &[], body);
                    match answer.is_ok_and(|answer| answer.status == 200) {
                        true => count.fetch_add(1, Ordering::Relaxed),
                        false => failed.fetch_add(1, Ordering::Relaxed),
                    };
                    if began.elapsed() > Duration::from_secs(5) {
                        return;
                    }
                }
            });
        }
    });
    ensure!(failed.into_inner() == 0, "requests failed without overload");
    Ok(count.into_inner() as f64 / began.elapsed().as_secs_f64())
}

/// Answers by status.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    other: Mutex<Vec<String>>,
}

/// Sends five times the capacity: what is accepted must be answered, and the rest refused.
pub(super) fn overload(models: &Path, sentences: &[String], seconds: u64) -> Result<()> {
    let queue = (2 * CLIENTS * TEXTS).to_string();
    let server = Server::start(models, &["--max-queue", &queue])?;
    let bodies = bodies(sentences);
    let capacity = capacity(&server, &bodies)?;
    let (before, _) = resources(&server)?;
    let (counts, sent, peak) = (Counts::default(), AtomicUsize::new(0), Mutex::new(before));
    let done = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let (counts, sent, server, bodies, done) = (&counts, &sent, &server, &bodies, &done);
        // Each client has its share of the rate, whatever its answers.
        let clients = 8 * CLIENTS;
        let pause = Duration::from_secs_f64(clients as f64 / (TIMES * capacity));
        for client in 0..clients {
            scope.spawn(move || {
                let start = began + pause.mul_f64(client as f64 / clients as f64);
                for (round, body) in (0..).zip(bodies.iter().cycle().skip(client)) {
                    let due = start + pause * round;
                    if due > began + Duration::from_secs(seconds) {
                        return;
                    }
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    sent.fetch_add(1, Ordering::Relaxed);
                    count(counts, server.ask("/tag", &[], body));
                }
            });
        }
        let peak = &peak;
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                if let (Ok((memory, _)), Ok(mut peak)) = (resources(server), peak.lock()) {
                    *peak = peak.max(memory);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        std::thread::sleep(Duration::from_secs(seconds) + Duration::from_millis(500));
        done.store(true, Ordering::Relaxed);
    });
    let elapsed = began.elapsed().as_secs_f64();
    let Counts { accepted, refused, other } = counts;
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    let other = other.into_inner().unwrap_or_default();
    ensure!(other.is_empty(), "{} answers are neither 200 nor 429, such as {}", other.len(), other[0]);
    ensure!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused: no overload");
    let peak = peak.into_inner().unwrap_or_default();
    ensure!(peak - before < GROWTH_MIB, "memory grew from {before:.0} to {peak:.0} MiB");
    server.stop()?;
    let sent = sent.into_inner();
    eprintln!(
        "overload: capacity {capacity:.1} requests/s of {TEXTS} texts; for {elapsed:.0} s {:.1} requests/s ({:.1} times), \
         {accepted} answered ({:.1}/s), {refused} refused with 429, 0 others; memory {before:.0} MiB before, {peak:.0} MiB peak",
        sent as f64 / elapsed,
        sent as f64 / elapsed / capacity,
        accepted as f64 / elapsed
    );
    Ok(())
}

fn count(counts: &Counts, answer: Result<super::server::Answer>) {
    let other = |what: String| {
        if let Ok(mut other) = counts.other.lock() {
            other.push(what);
        }
    };
    match answer {
        Ok(answer) if answer.status == 200 => {
            let is_whole = serde_json::from_slice::<serde_json::Value>(&answer.body)
                .is_ok_and(|answer| answer["results"].as_array().is_some_and(|results| !results.is_empty()));
            match is_whole {
                true => drop(counts.accepted.fetch_add(1, Ordering::Relaxed)),
                false => other("an answer without results".to_owned()),
            }
        }
        Ok(answer) if answer.status == 429 && answer.retry_after => {
            counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer) => other(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))),
        Err(error) => other(format!("{error:#}")),
    }
}

/// Requests of all kinds, good and bad, killed connections and reloads: memory and descriptors must not grow.
pub(super) fn mixed(models: &Path, sentences: &[String], seconds: u64) -> Result<()> {
    let server = Server::start(models, &["--io-timeout", "2", "--reload-every", "0.5"])?;
    let bodies = bodies(sentences);
    let (answered, faults, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));
    let began = Instant::now();
    let mut samples: Vec<(f64, f64, usize)> = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        for client in 0..4 {
            let (server, bodies, answered, faults, done) = (&server, &bodies, &answered, &faults, &done);
            scope.spawn(move || {
                for (round, body) in (client..).zip(bodies.iter().cycle().skip(7 * client)) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    match request(server, round, body) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => {
                            faults.lock().map(|mut faults| faults.push(format!("{error:#}"))).unwrap_or(())
                        }
                    }
                }
            });
        }
        let model = models.join("mtop.onnx");
        let copy = models.join("mtop.new");
        let samples = &mut samples;
        let watch = || -> Result<()> {
            let steps = 12;
            for step in 0..=steps {
                let (memory, descriptors) = resources(&server)?;
                samples.push((began.elapsed().as_secs_f64(), memory, descriptors));
                if step < steps {
                    fs::copy(&model, &copy)?;
                    fs::rename(&copy, &model)?;
                    std::thread::sleep(Duration::from_secs_f64(seconds as f64 / f64::from(steps)));
                }
            }
            Ok(())
        };
        let watched = { watch }();
        done.store(true, Ordering::Relaxed);
        watched
    })?;
    let faults = faults.into_inner().unwrap_or_default();
    ensure!(faults.is_empty(), "{} requests failed, such as {}", faults.len(), faults[0]);
    // Connections that were killed end within the time limit for clients.
    std::thread::sleep(Duration::from_secs(3));
    let (reloads, waiting) = (server.metric("hl_reloads_total")?, server.metric("hl_waiting_texts")?);
    let (memory, descriptors) = resources(&server)?;
    samples.push((began.elapsed().as_secs_f64(), memory, descriptors));
    for (second, memory, descriptors) in &samples {
        eprintln!("  after {second:6.1} s: {memory:6.1} MiB, {descriptors} descriptors");
    }
    // The first reloads fill the allocator's arenas.
    let settled = samples.get(samples.len() / 3).map_or(0.0, |sample| sample.1);
    ensure!(memory - settled < GROWTH_MIB, "memory grew from {settled:.0} to {memory:.0} MiB");
    let first = samples.first().map_or(0, |sample| sample.2);
    ensure!(descriptors <= first + 8, "descriptors grew from {first} to {descriptors}");
    ensure!(waiting == 0.0, "{waiting} texts wait after the last request");
    server.stop()?;
    eprintln!(
        "mixed traffic: {} requests in {seconds} s, {reloads:.0} reloads, memory {settled:.0} MiB after a third and {memory:.0} MiB \
         at the end, {first} and {descriptors} descriptors",
        answered.into_inner()
    );
    Ok(())
}

/// One of the requests of mixed traffic.
fn request(server: &Server, round: usize, body: &[u8]) -> Result<()> {
    let expect = |status: u16, path: &str, headers: &[(&str, &str)], body: &[u8]| -> Result<()> {
        let answer = server.ask(path, headers, body)?;
        let shown = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == status, "{path}: {} instead of {status}: {shown}", answer.status);
        Ok(())
    };
    match round % 10 {
        0 => expect(400, "/tag", &[], b"{\"texts\": [\"\xff\"]}"),
        1 => expect(413, "/tag", &[], &vec![b' '; 3 << 20]),
        2 => expect(404, "/v2/models/none/infer", &[], b"{}"),
        3 => {
            let lines = "\"wake me at 8 am\"\n".repeat(100);
            expect(200, "/tag?model=mtop", &[("content-type", "application/x-ndjson")], lines.as_bytes())
        }
        4 => {
            // Cut off at different places.
            let whole = [
                format!("POST /tag HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(),
                body,
            ]
            .concat();
            let mut stream = TcpStream::connect(server.address())?;
            stream.write_all(&whole[..whole.len() * (1 + round / 10 % 4) / 4])?;
            Ok(())
        }
        5 => {
            let tensor = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": ["play jazz"]});
            expect(200, "/v2/models/snips/infer", &[], json!({"inputs": [tensor]}).to_string().as_bytes())
        }
        _ => expect(200, "/tag", &[], body),
    }
}
