//! Several processes train as one: the sums, the work that they share, their errors, and whole trainings. Threads that
//! exchange bytes stand for the processes; `cargo xtask conformance mpi` has real ones.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use hyperloader_core::run::Run;
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use hyperloader_tests::runs::assert_same;
use hyperloader_tests::training::train_until;
use hyperloader_tests::{Workplace, fixture, tiny_config};
use hyperloader_trainer::config::Config;
use hyperloader_trainer::parallel::{Alone, Communicator, Failure, Group, PeerFailed, share, sum_of_parts};
use hyperloader_trainer::train::{End, TrainError, Training, Unobserved};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A thread that stands for a process.
struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

impl Communicator for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn local_size(&self) -> usize {
        self.to.len()
    }

    fn machine(&self) -> String {
        "here".to_owned()
    }

    fn exchange(&self, outgoing: &[&[u8]]) -> Vec<Vec<u8>> {
        for (to, bytes) in self.to.iter().zip(outgoing) {
            to.send(bytes.to_vec()).unwrap();
        }
        self.from.iter().map(|from| from.recv().unwrap()).collect()
    }
}

/// The results of `work` in `size` threads, in their order.
fn in_threads<T: Send>(size: usize, work: impl Fn(Thread) -> T + Sync) -> Vec<T> {
    let mut threads: Vec<Thread> =
        (0..size).map(|rank| Thread { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..size {
        for to in 0..size {
            let (sender, receiver) = channel();
            threads[from].to.push(sender);
            threads[to].from.push(receiver);
        }
    }
    std::thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = threads.into_iter().map(|thread| scope.spawn(move || work(thread))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn the_sum_of_parts_has_the_same_bits_in_any_number_of_processes() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (parts, length) in [(1, 5), (4, 1000), (5, 7), (7, 2), (7, 0), (6, 1001)] {
        // Sizes so far apart that another order gives another sum.
        let mut value = || random.random_range(-1.0_f32..1.0) * 10_f32.powi(random.random_range(-6..6));
        let all: Vec<Vec<f32>> = (0..parts).map(|_| (0..length).map(|_| value()).collect()).collect();
        let bits = |sum: Vec<f32>| sum.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let expected = bits(sum_of_parts(&Alone, all.clone()));
        if (parts, length) == (4, 1000) {
            let backwards = bits(sum_of_parts(&Alone, all.iter().rev().cloned().collect()));
            assert_ne!(backwards, expected);
        }
        for size in 1..=parts {
            let sums = in_threads(size, |thread| {
                let mine = all[share(thread.rank, size, parts)].to_vec();
                bits(sum_of_parts(&thread, mine))
            });
            assert!(sums.iter().all(|sum| *sum == expected), "{parts} parts, {size} processes");
        }
    }
}

#[test]
fn shared_work_comes_back_in_order_and_is_done_once() {
    for size in 1..=4 {
        for count in 0..=9 {
            let results = in_threads(size, |thread| {
                let group = Group::new(thread);
                let mut mine = Vec::new();
                let all = group.map(count, |number| {
                    mine.push(number);
                    Ok::<_, PeerFailed>((number * number, f64::INFINITY))
                });
                (mine, all.unwrap())
            });
            let mut done: Vec<usize> = results.iter().flat_map(|(mine, _)| mine.clone()).collect();
            done.sort_unstable();
            assert_eq!(done, (0..count).collect::<Vec<_>>());
            let expected: Vec<_> = (0..count).map(|number| (number * number, f64::INFINITY)).collect();
            assert!(results.iter().all(|(_, all)| *all == expected), "{size} processes, {count}");
        }
    }
}

#[test]
fn the_error_of_one_process_is_that_of_all_wherever_the_others_are() {
    let ends = in_threads(4, |thread| {
        let group = Group::new(thread);
        let failure = |message: &str| Failure { message: message.to_owned(), is_internal: false };
        match group.rank() {
            0 => group.any(false).map(drop).map_err(|error| error.to_string()),
            1 | 2 => group.close(Some(failure("the disk is full"))).map_err(|error| error.to_string()),
            _ => group.map(9, Ok::<_, PeerFailed>).map(drop).map_err(|error| error.to_string()),
        }
    });
    let message = "process 1 on `here`: the disk is full".to_owned();
    assert_eq!(ends, [Err(message.clone()), Ok(()), Ok(()), Err(message)]);
}

/// Without dropout, whose generator the threads of a process share.
fn place() -> Workplace {
    let place = Workplace::new();
    let more = "evaluate_every = 4\nsave_every = 2\ndropout = 0.0\nthreads = 1\nevaluation_batch_size = 3";
    let config = tiny_config().replace("evaluate_every = 10", more);
    // Enough validation sentences to calibrate on.
    let valid = format!("valid = \"{}\"", fixture("corpora/atis/valid").display());
    assert!(config.contains(&valid));
    place.write("hyperloader.toml", config.replace(&valid, "valid = \"valid\""));
    for name in ["seq.in", "seq.out"] {
        let text = std::fs::read_to_string(fixture("corpora/snips/valid").join(name)).unwrap();
        let lines: Vec<&str> = text.lines().take(20).collect();
        place.write(&format!("valid/{name}"), lines.join("\n") + "\n");
    }
    place
}

fn config(place: &Workplace, parts: usize, runs: &str) -> Config {
    let mut config = Config::from_file(&place.path("hyperloader.toml")).unwrap();
    (config.training.steps, config.training.parts) = (4, parts);
    (config.runs, config.name) = (place.path(runs), Some("run".to_owned()));
    config
}

fn train(config: Config, group: Group) -> Result<PathBuf, TrainError> {
    match to_end(Training::prepare(config, None, group, &mut Unobserved)?)? {
        End::Finished(outcome) => Ok(outcome.run),
        End::Stopped { .. } => panic!("nothing asked it to stop"),
    }
}

fn to_end(training: Training) -> Result<End, TrainError> {
    train_until(training, u64::MAX, |_| ())
}

#[test]
fn any_number_of_processes_writes_the_run_of_one() {
    let place = place();
    let one = train(config(&place, 4, "one"), Group::alone()).unwrap();
    // Three do not divide four.
    let three = in_threads(3, |thread| train(config(&place, 4, "three"), Group::new(thread)).unwrap());
    assert!(three.iter().all(|run| *run == three[0]), "{three:?}");
    assert_same(&one, &three[0]);
}

#[test]
fn any_number_of_processes_reads_the_same_stream() {
    let place = place();
    let lines =
        (0..30).map(|n| format!("{{\"tokens\": [\"to\", \"w{n}\"], \"tags\": [\"O\", \"B-city\"]}}\n"));
    place.write("shards/a.jsonl", lines.clone().take(20).collect::<String>());
    place.write("shards/b.jsonl", lines.skip(20).collect::<String>());
    let text = std::fs::read_to_string(place.path("hyperloader.toml")).unwrap();
    let task = "\n[task.city]\ntrain = \"shards/*.jsonl\"\nvalid = \"shards/b.jsonl\"\nstream = true\n";
    place.write("hyperloader.toml", text + task);
    let one = train(config(&place, 4, "one"), Group::alone()).unwrap();
    let three = in_threads(3, |thread| train(config(&place, 4, "three"), Group::new(thread)).unwrap());
    assert_same(&one, &three[0]);
}

#[test]
fn a_run_goes_on_with_another_number_of_processes() {
    let place = place();
    let whole = train(config(&place, 4, "whole"), Group::alone()).unwrap();
    // One process is asked to stop, and all do.
    let stopped = in_threads(4, |thread| {
        let after = if thread.rank == 1 { 2 } else { u64::MAX };
        let training =
            Training::prepare(config(&place, 4, "cut"), None, Group::new(thread), &mut Unobserved).unwrap();
        train_until(training, after, |_| ()).unwrap()
    });
    assert!(stopped.iter().all(|end| matches!(end, End::Stopped { step: 2, .. })), "{stopped:?}");
    in_threads(2, |thread| {
        let run = Run::open(&place.path("cut/run")).unwrap();
        let training =
            Training::resume(config(&place, 4, "cut"), run, Group::new(thread), &mut Unobserved).unwrap();
        to_end(training).map(drop).unwrap();
    });
    assert_same(&whole, &place.path("cut/run"));
}

/// The errors of two processes with these configurations.
fn errors(configs: [Config; 2]) -> Vec<String> {
    in_threads(2, |thread| {
        let config = configs[thread.rank].clone();
        train(config, Group::new(thread)).unwrap_err().to_string()
    })
}

#[test]
fn processes_that_differ_end_before_a_run_begins_and_name_the_difference() {
    let place = place();
    let plain = || config(&place, 2, "none");
    let mut other = plain();
    other.seed += 1;
    let seeds = errors([plain(), other]);
    assert!(
        seeds[0].starts_with("process 1 on `here` has another `seed`: 43, process 0 has 42\nhint: "),
        "{seeds:?}"
    );
    let mut other = plain();
    let lines = std::fs::read_to_string(fixture("corpora/mit_movie/engtrain.bio")).unwrap();
    other.tasks.get_mut("movie").unwrap().train = place.write("other.bio", lines.replacen("how", "why", 1));
    let corpora = errors([plain(), other]);
    assert_eq!(corpora[0], corpora[1]);
    let expected = "process 1 on `here` has another SHA-256 of the training sentences of task `movie`: ";
    assert!(corpora[0].starts_with(expected), "{corpora:?}");
    let three = in_threads(3, |thread| train(plain(), Group::new(thread)).unwrap_err().to_string());
    assert!(three[0].starts_with("3 processes cannot share the 2 parts of a batch\nhint: "), "{three:?}");
    assert!(!place.path("none").exists());
}

/// The first moments of the optimizer after one step: a tenth of the clipped gradient.
fn moments(run: &Path) -> Tensors {
    let file = run.join("checkpoints/step-000001.optimizer.safetensors");
    let tensors = TensorFile::open(&file).unwrap().read_all().unwrap();
    tensors.into_iter().filter(|(name, _)| name.starts_with("first.")).collect()
}

#[test]
fn the_gradients_of_parts_add_up_to_that_of_the_batch() {
    let bert = fixture("backbones/bert-tiny");
    let bert = format!("path = \"{}\"\n\n[method]\nmethod = \"unipelt-bert\"\n", bert.display());
    let t5 = tiny_config();
    let (before, after) = (t5.find("path = ").unwrap(), t5.find("\n[training]").unwrap());
    let of_bert = format!("{}{bert}{}", &t5[..before], &t5[after..]);
    for (name, text) in [("t5", t5), ("bert", of_bert)] {
        let place = Workplace::new();
        let text =
            text.replace("evaluate_every", "dropout = 0.0\ndrafter = false\nthreads = 1\nevaluate_every");
        place.write("hyperloader.toml", text);
        let run = |parts: usize| {
            let mut config = config(&place, parts, &format!("of-{parts}"));
            config.training.steps = 1;
            moments(&train(config, Group::alone()).unwrap())
        };
        let (whole, of_parts) = (run(1), run(3));
        assert_eq!(whole.keys().collect::<Vec<_>>(), of_parts.keys().collect::<Vec<_>>());
        let largest = |tensors: &Tensors| {
            tensors.values().flatten().fold(0_f32, |largest, value| largest.max(value.abs()))
        };
        let difference = whole.iter().map(|(at, tensor)| (at.clone(), tensor - &of_parts[at])).collect();
        let (size, difference) = (largest(&whole), largest(&difference));
        assert!(size > 1e-4 && difference < 1e-5 * size, "{name}: {difference} of {size}");
    }
}

/// The end of `hl-train` as `mpirun` would start it, without MPI.
#[test]
fn a_program_without_mpi_refuses_to_train_the_same_run_several_times() {
    let place = place();
    let start = |rank: &str, arguments: &[&str]| {
        let mut command = place.program("hl-train");
        place.transcript(
            command.args(arguments).env("OMPI_COMM_WORLD_SIZE", "4").env("OMPI_COMM_WORLD_RANK", rank),
        )
    };
    insta::assert_snapshot!("not_built", start("0", &[]));
    insta::assert_snapshot!("one_only", start("0", &["params"]));
    assert_eq!(start("3", &[]), "exit: 0\n--- stdout\n\n--- stderr\n");
    assert!(!place.path("runs").exists());
}
