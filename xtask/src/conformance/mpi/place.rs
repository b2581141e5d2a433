//! A folder with both builds of `hl-train`, and processes started in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::commands::{self, cargo, root};

/// A training of this check takes less.
const LIMIT: Duration = Duration::from_secs(300);
/// The number of sentences of each split of SNIPS; scores are calibrated on at least 20.
const SPLITS: [(&str, usize); 3] = [("train", 60), ("valid", 24), ("test", 6)];
/// Time between two looks at a process.
const PAUSE: Duration = Duration::from_millis(20);

/// A folder with both builds of `hl-train`.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    /// Builds the program with and without MPI. The second replaces the first where the tests look for it.
    pub(super) fn new() -> Result<Self> {
        let place = Self { folder: tempfile::tempdir()? };
        for (split, sentences) in SPLITS {
            place.excerpt(split, sentences)?;
        }
        for (name, features) in [("with", &["--features", "hyperloader-trainer/mpi"][..]), ("without", &[])] {
            let mut build = cargo();
            commands::run(build.args(["build", "--workspace", "--bin", "hl-train"]).args(features))?;
            fs::create_dir(place.path(name))?;
            fs::copy(super::super::program("hl-train").get_program(), place.path(name).join("hl-train"))?;
        }
        Ok(place)
    }

    /// The first sentences of a split of SNIPS.
    fn excerpt(&self, split: &str, sentences: usize) -> Result<()> {
        fs::create_dir_all(self.path("snips").join(split))?;
        for name in ["seq.in", "seq.out"] {
            let file = Path::new(split).join(name);
            let text = fs::read_to_string(root().join("fixtures/corpora/snips").join(&file))?;
            let lines: Vec<&str> = text.lines().take(sentences).collect();
            fs::write(self.path("snips").join(&file), lines.join("\n") + "\n")?;
        }
        Ok(())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with MPI.
    pub(super) fn program(&self) -> String {
        self.path("with/hl-train").display().to_string()
    }

    /// The run in a folder of runs; all have one name, because a run contains its name.
    pub(super) fn run(&self, runs: &str) -> PathBuf {
        self.path(runs).join("run")
    }

    /// Writes `hyperloader.toml`: dropout on, four parts, checkpoints between evaluations.
    pub(super) fn configure(&self, method: &str, backbone: &str, steps: u64) -> Result<()> {
        let fixtures = fs::canonicalize(root().join("fixtures"))?;
        let corpora = fixtures.join("corpora");
        let config = format!(
            "name = \"run\"\n[backbone]\npath = \"{}\"\n[method]\nmethod = \"{method}\"\n\
             [training]\nsteps = {steps}\nbatch_size = 4\nparts = 4\nwarmup_steps = 5\nlearning_rate = 1e-3\n\
             evaluate_every = {}\nsave_every = 5\nlog_every = 1\nmax_source_len = 40\nmax_target_len = 24\ntoo_long = \"truncate\"\n\
             dropout = 0.1\nthreads = 1\nevaluation_batch_size = 4\n\
             [task.snips]\nlayout = \"seq-in-out\"\ntrain = \"snips/train\"\n\
             valid = \"snips/valid\"\ntest = \"snips/test\"\n\
             [task.movie]\nlayout = \"bio-columns\"\nlabels = \"plain\"\n\
             train = \"{corpora}/mit_movie/engtrain.bio\"\ntest = \"{corpora}/mit_movie/engtest.bio\"\n",
            fixtures.join("backbones").join(backbone).display(),
            steps / 2,
            corpora = corpora.display(),
        );
        Ok(fs::write(self.path("hyperloader.toml"), config)?)
    }

    /// A copy of `hyperloader.toml` with changes; returns its path.
    pub(super) fn variant(&self, name: &str, from: &str, to: &str) -> Result<String> {
        let text = fs::read_to_string(self.path("hyperloader.toml"))?;
        ensure!(text.contains(from), "the configuration has no `{from}`");
        let path = self.path(name);
        fs::write(&path, text.replace(from, to))?;
        Ok(path.display().to_string())
    }

    /// One process of the build without MPI.
    pub(super) fn alone(&self, arguments: &[&str]) -> Started<'_> {
        let mut command = Command::new(self.path("without/hl-train"));
        command.args(["--quiet"]).args(arguments);
        Started { place: self, command }
    }

    /// `mpirun` with processes of the build with MPI.
    pub(super) fn mpirun(&self, processes: usize, arguments: &[&str]) -> Started<'_> {
        let program = self.program();
        self.mixed(&[(processes, &[&[&program, "--quiet"], arguments].concat())])
    }

    /// `mpirun` with several commands: the number of processes of each, and its words.
    pub(super) fn mixed(&self, commands: &[(usize, &[&str])]) -> Started<'_> {
        let mut command = Command::new("mpirun");
        command.args(["--bind-to", "none", "--oversubscribe"]);
        for (at, (processes, words)) in commands.iter().enumerate() {
            command.args((at > 0).then_some(":"));
            command.args(["-n", &processes.to_string()]).args(*words);
        }
        // Open MPI asks root for both.
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        Started { place: self, command }
    }
}

/// A command that is ready to start.
pub(super) struct Started<'a> {
    place: &'a Place,
    command: Command,
}

impl Started<'_> {
    /// Starts it.
    pub(super) fn spawn(mut self) -> Result<Running> {
        let log = self.place.path("log.txt");
        let file = File::create(&log)?;
        self.command.current_dir(self.place.folder.path()).env("OMP_NUM_THREADS", "1");
        self.command.env("OMP_WAIT_POLICY", "passive").env("NO_COLOR", "1").stdin(Stdio::null());
        self.command.stdout(file.try_clone()?).stderr(file);
        let program = self.command.get_program().to_owned();
        let child = self.command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Running { child, log, began: Instant::now() })
    }

    /// Starts it and waits for its end.
    pub(super) fn end(self) -> Result<Ended> {
        self.spawn()?.end()
    }
}

/// A command that was started.
pub(super) struct Running {
    child: Child,
    log: PathBuf,
    began: Instant,
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// If it takes too long.
    pub(super) fn end(mut self) -> Result<Ended> {
        while self.is_running()? {
            std::thread::sleep(PAUSE);
            if self.began.elapsed() > LIMIT {
                self.child.kill()?;
                bail!("no end after {} s:\n{}", LIMIT.as_secs(), fs::read_to_string(&self.log)?);
            }
        }
        Ok(Ended { status: self.child.wait()?, log: fs::read_to_string(&self.log)? })
    }

    pub(super) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until `file` contains `text`.
    pub(super) fn wait_for(&mut self, file: &Path, text: &str) -> Result<()> {
        while !fs::read_to_string(file).is_ok_and(|found| found.contains(text)) {
            ensure!(self.is_running()?, "it ended:\n{}", fs::read_to_string(&self.log)?);
            ensure!(self.began.elapsed() < LIMIT, "`{}` never contains `{text}`", file.display());
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Sends a signal, such as `KILL`, to the command itself.
    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        send(signal, self.child.id())
    }

    /// Sends a signal to the process of rank `rank`; false if there is none (yet).
    pub(super) fn signal_rank(&self, signal: &str, rank: usize) -> Result<bool> {
        self.rank(rank)?.map_or(Ok(false), |id| send(signal, id).map(|()| true))
    }

    /// The id of the process of rank `rank`, a child of `mpirun`.
    pub(super) fn rank(&self, rank: usize) -> Result<Option<u32>> {
        let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
        for entry in fs::read_dir("/proc")? {
            let folder = entry?.path();
            let read = |file: &str| fs::read(folder.join(file)).unwrap_or_default();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let id = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
            // After the name in parentheses: the state and the parent.
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            let is_rank = || read("environ").split(|byte| *byte == 0).any(|text| text == variable.as_bytes());
            if parent == Some(self.child.id()) && is_rank() {
                return Ok(id);
            }
        }
        Ok(None)
    }
}

fn send(signal: &str, process: u32) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status()?;
    ensure!(status.success(), "cannot send {signal} to process {process}");
    Ok(())
}

/// How a command ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// What it wrote to stdout and stderr.
    pub(super) log: String,
}

impl Ended {
    pub(super) fn success(&self) -> Result<()> {
        ensure!(self.status.success(), "it ended with {}:\n{}", self.status, self.log);
        Ok(())
    }
}
