//! A local server that answers as the Hugging Face hub does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hyperloader_core::files::sha256;
use hyperloader_tests::fixture;
use hyperloader_trainer::hub::Hub;
use serde_json::{Value, json};

pub(crate) const ID: &str = "hl/t5-nano";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The branch, tag and commit that the server has.
const REVISIONS: [&str; 3] = ["main", "v1.0", COMMIT];

/// What a server holds and how it fails.
#[derive(Default)]
pub(crate) struct Content {
    /// Each with the hash that the hub names it by.
    pub(crate) files: BTreeMap<String, (Vec<u8>, String)>,
    /// Connections that break off in the middle of a large file.
    pub(crate) cuts: AtomicUsize,
    /// Large files are sent with a wrong last byte.
    pub(crate) corrupt: AtomicBool,
    /// Request lines with their `range` and `authorization`.
    requests: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// A hub with one model. Small files are answered at once, safetensors by a redirection to where they are stored, as
/// the hub does; `t5-nano`, an old name, is redirected to `hl/t5-nano`.
pub(crate) struct Server {
    address: SocketAddr,
    pub(crate) content: Arc<Content>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tagged = |(name, bytes): (String, Vec<u8>)| {
            let tag = tag(&bytes);
            (name, (bytes, tag))
        };
        let files = files.into_iter().map(tagged).collect();
        let content = Arc::new(Content { files, ..Content::default() });
        let served = Arc::clone(&content);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that breaks off is its own affair.
                let _ = served.answer(stream.unwrap(), address);
            }
        });
        Self { address, content, thread: Some(thread) }
    }

    /// The nano backbone.
    pub(crate) fn nano() -> Self {
        Self::of_files(["backbones/t5-nano/tokenizer.json"])
    }

    /// The bundled backbone, with these fixtures in place of its tokenizer.
    pub(crate) fn of_files(tokenizers: impl IntoIterator<Item = &'static str>) -> Self {
        let model = ["config.json", "model.safetensors"].map(|name| fixture("backbones/t5-nano").join(name));
        let files = model.into_iter().chain(tokenizers.into_iter().map(fixture));
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        };
        Self::start(files.map(read).collect())
    }

    /// A model with files of these names and no sense.
    pub(crate) fn with(names: &[&str]) -> Self {
        Self::start(names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect())
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn hub(&self, home: &Path) -> Hub {
        Hub { endpoint: self.endpoint(), cache: home.join("hub"), token: None, offline: false }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.content.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.content.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

/// What the hub names a large file by: its SHA-256.
pub(crate) fn tag(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    sha256(file.path()).unwrap()
}

impl Content {
    fn answer(&self, stream: TcpStream, address: SocketAddr) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut range, mut token) = (None, None);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header == "\r\n" {
                break;
            }
            let (name, value) = header.trim().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "range" => range = Some(value.to_owned()),
                "authorization" => token = Some(value.to_owned()),
                _ => {}
            }
        }
        let request = [Some(path.clone()), range.clone(), token].into_iter().flatten().collect::<Vec<_>>();
        self.requests.lock().unwrap().push(request.join(" "));
        self.reply(stream, address, &path, range.as_deref())
    }

    fn reply(
        &self,
        mut to: TcpStream,
        address: SocketAddr,
        path: &str,
        range: Option<&str>,
    ) -> std::io::Result<()> {
        if let Some(rest) = path.strip_prefix("/t5-nano/") {
            let location = format!("location: /{ID}/{rest}\r\n");
            return send(&mut to, "307 Temporary Redirect", &location, b"");
        }
        let revision = path.strip_prefix(&format!("/api/models/{ID}/revision/"));
        if revision.is_some_and(|name| REVISIONS.contains(&name))
            || path == "/api/models/t5-nano/revision/main"
        {
            let files: Vec<Value> = self.files.keys().map(|name| json!({ "rfilename": name })).collect();
            let body = json!({ "sha": COMMIT, "siblings": files }).to_string();
            return send(&mut to, "200 OK", "content-type: application/json\r\n", body.as_bytes());
        }
        if let Some(file) = path.strip_prefix(&format!("/{ID}/resolve/{COMMIT}/")) {
            let Some((bytes, tag)) = self.files.get(file) else {
                return send(&mut to, "404 Not Found", "", b"Entry not found");
            };
            let about = format!("x-repo-commit: {COMMIT}\r\n");
            if file.ends_with(".safetensors") {
                let headers = format!(
                    "{about}x-linked-etag: \"{tag}\"\r\nx-linked-size: {}\r\nlocation: http://{address}/stored/{file}\r\n",
                    bytes.len()
                );
                return send(&mut to, "302 Found", &headers, b"");
            }
            return send_part(&mut to, &format!("{about}etag: \"{}\"\r\n", &tag[..40]), bytes, range);
        }
        match path.strip_prefix("/stored/").and_then(|file| self.files.get(file)) {
            Some((bytes, _)) => self.send_large(&mut to, bytes, range),
            None => send(&mut to, "401 Unauthorized", "", b"Repository not found"),
        }
    }

    fn send_large(&self, to: &mut TcpStream, bytes: &[u8], range: Option<&str>) -> std::io::Result<()> {
        let mut bytes = bytes.to_vec();
        if self.corrupt.load(Ordering::SeqCst) {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let start: usize = range.map_or(0, |range| range[6..].split('-').next().unwrap().parse().unwrap());
        let whole = range.is_none_or(|range| range.ends_with('-'));
        let less = |cuts: usize| cuts.checked_sub(1);
        if whole && self.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            let rest = &bytes[start..];
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                rest.len()
            );
            to.write_all(head.as_bytes())?;
            return to.write_all(&rest[..rest.len() / 2]);
        }
        send_part(to, "etag: \"other\"\r\n", &bytes, range)
    }
}

fn send(to: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(to, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n")?;
    to.write_all(body)
}

/// The part that `range`, `bytes=FIRST-` or `bytes=FIRST-LAST`, asks for.
fn send_part(to: &mut TcpStream, headers: &str, bytes: &[u8], range: Option<&str>) -> std::io::Result<()> {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return send(to, "200 OK", headers, bytes);
    };
    let first: usize = first.parse().unwrap();
    let end = last.parse::<usize>().map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    if first >= bytes.len() {
        return send(to, "416 Range Not Satisfiable", "", b"");
    }
    let headers = format!("{headers}content-range: bytes {first}-{}/{}\r\n", end - 1, bytes.len());
    send(to, "206 Partial Content", &headers, &bytes[first..end])
}
