//! The files in `server/deploy`: what they start exists, and the container's files are enough.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::lexicon_tagger;
use crate::running::{eventually, program};

fn deploy(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap()
}

fn help() -> String {
    String::from_utf8(program().arg("--help").output().unwrap().stdout).unwrap()
}

const FILES: [&str; 4] = ["Containerfile", "hl-serve.service", "kserve.yaml", "kubernetes.yaml"];

#[test]
fn every_option_and_address_in_the_files_exists() {
    let (help, openapi) =
        (help(), String::from_utf8(program().arg("openapi").output().unwrap().stdout).unwrap());
    let known: BTreeSet<&str> = help.split([' ', '\n', ',']).filter(|word| word.starts_with("--")).collect();
    for name in FILES {
        let text = deploy(name);
        // Lines of other programs name options of theirs.
        let ours = text.lines().filter(|line| {
            line.contains("hl-serve")
                && !line.starts_with('#')
                && !line.contains("--from")
                && !line.starts_with("HEALTHCHECK")
                && !line.starts_with("RUN")
                || line.trim_start().starts_with("args:")
        });
        let options =
            ours.flat_map(|line| line.split([' ', '"', '[', ']', ','])).filter(|word| word.starts_with("--"));
        for option in options {
            assert!(known.contains(option), "{name}: {option}");
        }
        for path in text.lines().filter_map(|line| line.trim().strip_prefix("path: ")) {
            assert!(openapi.contains(&format!("\"{path}\"")), "{name}: {path}");
        }
    }
    assert!(known.contains("--ready"));
}

/// The value of an instruction in JSON form.
fn words(text: &str, instruction: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.contains(instruction)).unwrap();
    serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
}

/// The libraries that a program or library needs, as the loader finds them.
fn libraries(file: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|word| word.trim_end_matches(':').into())
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
}

/// The files of the image in a folder: those that the last stage copies, and of its base image glibc, libgcc, libstdc++ and
/// `/tmp`.
fn tree(text: &str, root: &Path, onnxruntime: Option<&Path>) {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("gcr.io/distroless/cc-debian12:nonroot\n"));
    let mut base = BTreeSet::new();
    for line in last.lines().filter_map(|line| line.strip_prefix("COPY --from=")) {
        let [_, from, to] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let from = match Path::new(from).file_name().unwrap().to_str().unwrap() {
            "hl-serve" => Path::new(env!("CARGO_BIN_EXE_hl-serve")),
            name if name.starts_with("libonnxruntime.so") => match onnxruntime {
                Some(path) => path,
                None => continue,
            },
            other => panic!("the image has `{other}`"),
        };
        copy(from, &inside(to));
        base.extend(libraries(from));
    }
    for library in base {
        let name = library.file_name().unwrap().to_str().unwrap().to_owned();
        let known = ["ld-linux", "libc.", "libm.", "libgcc_s", "libstdc++", "libdl", "libpthread", "librt"];
        assert!(known.iter().any(|known| name.starts_with(known)), "{name} is not in the base image");
        copy(&library, &inside(library.to_str().unwrap()));
    }
    std::fs::create_dir_all(inside("/tmp")).unwrap();
    std::fs::create_dir_all(inside("/proc")).unwrap();
    std::fs::set_permissions(inside("/tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
}

/// ONNX Runtime's library, where `cargo xtask setup` puts it.
fn onnxruntime() -> Option<PathBuf> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.native/onnxruntime/lib");
    let found = || {
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so."))
        })
    };
    variable.or_else(found)
}

/// Enters the folder `$0` as the user `$1`, with `/proc`, which containers have, too.
const ENTER: &str = "\
    user=\"$1\" && shift && /bin/mount --rbind /proc \"$0/proc\" && exec /usr/sbin/chroot \"$user\" \"$0\" \"$@\"";

#[test]
#[cfg(target_os = "linux")]
fn the_containers_files_are_enough_to_serve_as_a_user_without_rights() {
    let text = deploy("Containerfile");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let library = onnxruntime();
    tree(&text, root, library.as_deref());
    copy(lexicon_tagger(), &root.join("models/lexicon.onnx"));
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let inside = |arguments: &[String]| {
        let mut command = Command::new("/usr/bin/unshare");
        // Without root, the user is the only one in a name space of its own.
        let (options, user): (&[&str], _) = match rustix::process::getuid().is_root() {
            true => (&["--mount"], "--userspec=65532:65532"),
            false => (&["--mount", "--user", "--map-root-user"], "--userspec=0:0"),
        };
        command.args(options).args(["/bin/sh", "-c", ENTER]).arg(root).arg(user).args(arguments);
        command.env_clear().stdin(Stdio::null());
        let environment = text.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
        command.envs(environment.filter(|_| library.is_some()));
        command
    };
    // Another port than that of a server which runs here.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = |word: String| word.replace("8080", &free.to_string());
    let mut start: Vec<String> = words(&text, "ENTRYPOINT").into_iter().map(port).collect();
    start.extend(words(&text, "\"/models\""));
    let log = std::fs::File::create(root.join("log")).unwrap();
    let mut server = inside(&start).stderr(log).spawn().unwrap();
    let check: Vec<String> = words(&text, "HEALTHCHECK").into_iter().map(port).collect();
    let is_ready = || inside(&check).stderr(Stdio::null()).status().unwrap().success();
    let shown = || std::fs::read_to_string(root.join("log")).unwrap();
    eventually("the health check succeeds", || {
        assert!(server.try_wait().unwrap().is_none(), "the server ended: {}", shown());
        is_ready()
    });
    let mut answer = crate::running::agent()
        .post(format!("http://127.0.0.1:{free}/tag"))
        .send(r#"{"texts": ["set an alarm for 7 am"]}"#)
        .unwrap();
    assert!(answer.body_mut().read_to_string().unwrap().contains("\"7 am\""));
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "{}", shown());
    assert!(!is_ready(), "the health check fails without a server");
    assert!(shown().lines().all(|line| line.starts_with('{')), "{}", shown());
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "copies are removed");
}
