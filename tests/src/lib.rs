//! Helpers of the whole-chain tests: the real binaries, in a folder of their own.
//!
//! - [`runs`]: comparison of run folders
//! - [`training`]: trainings in this process that stop after a given update

pub mod runs;
pub mod training;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The root of the clone.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map(Path::to_owned).unwrap_or_else(|| tests.to_owned())
}

/// A file or folder under `fixtures/`.
pub fn fixture(path: &str) -> PathBuf {
    root().join("fixtures").join(path)
}

/// The folder of the built binaries, beside the test's own in `deps`. `cargo test --workspace` builds them first; a
/// build from here would resolve other features and compile everything again.
///
/// # Panics
/// If they are not there.
pub fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        let folder = test.ancestors().nth(2).expect("tests lie in `<profile>/deps`").to_owned();
        for name in ["hl-train", "hl-export", "hl-run", "hl-serve"] {
            assert!(folder.join(name).is_file(), "`{name}` is not built: run `cargo test --workspace`");
        }
        folder
    })
}

/// A fresh folder and commands that run in it.
#[derive(Debug)]
pub struct Workplace {
    folder: TempDir,
}

impl Default for Workplace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workplace {
    /// An empty folder.
    ///
    /// # Panics
    /// If none can be made.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder");
        }
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// One of the three programs, started in the folder.
    pub fn program(&self, name: &str) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(binaries().join(name));
        // Threads that spin while they wait for each other are very slow where tests share few cores.
        command.current_dir(self.folder.path()).env("NO_COLOR", "1").env("OMP_WAIT_POLICY", "passive");
        command
    }

    /// Runs a program and renders exit code, stdout and stderr for a snapshot, with paths made independent of the machine.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn transcript(&self, command: &mut assert_cmd::Command) -> String {
        let output = command.output().expect("the program starts");
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .replace(&*self.folder.path().to_string_lossy(), "[FOLDER]")
                .replace(&*root().to_string_lossy(), "[CLONE]")
                .trim_end()
                .to_owned()
        };
        format!(
            "exit: {}\n--- stdout\n{}\n--- stderr\n{}",
            output.status.code().map_or("signal".to_owned(), |c| c.to_string()),
            text(&output.stdout),
            text(&output.stderr)
        )
    }

    /// Names of everything in the folder, sorted; temporary files show as such.
    ///
    /// # Panics
    /// If the folder cannot be read.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A configuration that trains on the 20-sentence excerpts in seconds.
pub fn tiny_config() -> String {
    let (backbone, corpora) = (fixture("backbones/t5-nano"), fixture("corpora"));
    let (backbone, corpora) = (backbone.display(), corpora.display());
    format!(
        "[backbone]\npath = \"{backbone}\"\n\n\
         [method]\nreduction_factor = 8\n\n\
         [training]\nsteps = 20\nbatch_size = 4\nwarmup_steps = 5\nlearning_rate = 1e-3\nevaluate_every = 10\n\
         max_source_len = 64\nmax_target_len = 64\n\n\
         [task.atis]\nlayout = \"seq-in-out\"\ntrain = \"{corpora}/atis/train\"\nvalid = \"{corpora}/atis/valid\"\n\
         test = \"{corpora}/atis/test\"\n\n\
         [task.movie]\nlayout = \"bio-columns\"\ntrain = \"{corpora}/mit_movie/engtrain.bio\"\n\
         test = \"{corpora}/mit_movie/engtest.bio\"\nlabels = \"plain\"\n"
    )
}

/// A test for each method, and one that no method on a kind of backbone is missing. `Method`, `BackboneKind` and a function
/// `assert_parity_of` are in scope where it is called.
#[macro_export]
macro_rules! parity_of_methods {
    (all_on $kind:ident in $none_missing:ident; $($test:ident: $method:ident,)*) => {
        $(
            #[test]
            fn $test() {
                assert_parity_of(Method::$method);
            }
        )*

        #[test]
        fn $none_missing() {
            let all = Method::ALL.into_iter().filter(|method| method.runs_on(BackboneKind::$kind));
            assert!(all.eq([$(Method::$method),*]));
        }
    };
}
