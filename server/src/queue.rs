//! Which parts of the waiting texts share the next batch.
//!
//! Jobs wait in a ring. A batch starts with the next part of the first job and takes parts of similar length from all jobs, one
//! of each before a second of any. Jobs that are served and have further parts go to the end of the ring. So a long job does not
//! delay a short one by more than the batches of the jobs before it, and no batch is mostly padding.
//!
//! Jobs that have waited for half of their time take no turns: all their parts come first, in the order of their deadlines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// What waits: the parts of a request's texts.
pub(crate) trait Job {
    /// Jobs with different values cannot share a batch.
    fn group(&self) -> usize;

    /// The tokens of each part.
    fn lengths(&self) -> &[usize];

    /// Whether nobody waits for its results any longer.
    fn is_abandoned(&self) -> bool;

    /// When the time of a job ends that has waited for half of it; none for other jobs.
    fn urgency(&self, now: Instant) -> Option<Instant>;
}

/// Bounds of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Most parts.
    pub(crate) rows: usize,
    /// Most tokens, padding included. A part with more is a batch of its own.
    pub(crate) tokens: usize,
}

/// Candidates for a batch, as a multiple of its rows.
const LOOKAHEAD: usize = 8;
/// Batches with more tokens than this are bound by computation: padding costs as much as tokens.
const SMALL: usize = 192;
/// Most padding of larger batches: tokens with padding, in percent of tokens without.
const PADDED_PERCENT: usize = 150;

/// Jobs that wait.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    ring: VecDeque<Waiting<J>>,
}

#[derive(Debug)]
struct Waiting<J> {
    job: Arc<J>,
    /// Indices of the parts that are in no batch yet.
    rest: VecDeque<usize>,
}

/// A part that may be in the next batch.
struct Candidate {
    /// Index in the ring.
    at: usize,
    is_urgent: bool,
    part: usize,
    tokens: usize,
}

impl<J> Waiting<J> {
    fn parts(&self) -> impl Iterator<Item = usize> {
        self.rest.iter().copied()
    }
}

impl<J: Job> Queue<J> {
    pub(crate) fn new() -> Self {
        Self { ring: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, job: Arc<J>) {
        let rest = (0..job.lengths().len()).collect();
        self.ring.push_back(Waiting { job, rest });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The parts of the next batch: each with its job. All are of one group. None if nothing waits.
    pub(crate) fn take(&mut self, limits: BatchLimits, now: Instant) -> Vec<(Arc<J>, usize)> {
        self.ring.retain(|waiting| !waiting.job.is_abandoned() && !waiting.rest.is_empty());
        let urgent = self.put_urgent_first(now);
        let mut batch = Vec::new();
        for Candidate { at, part, .. } in choose(self.candidates(limits, urgent), limits) {
            let Some(waiting) = self.ring.get_mut(at) else { continue };
            waiting.rest.retain(|rest| *rest != part);
            batch.push((at, part));
        }
        let jobs = batch.iter().map(|(at, part)| (Arc::clone(&self.ring[*at].job), *part)).collect();
        self.rotate(&batch);
        jobs
    }

    /// Moves urgent jobs to the front, the earliest deadline first. Returns their number.
    fn put_urgent_first(&mut self, now: Instant) -> usize {
        let jobs =
            std::mem::take(&mut self.ring).into_iter().map(|waiting| (waiting.job.urgency(now), waiting));
        let (mut urgent, others): (Vec<_>, Vec<_>) = jobs.partition(|(deadline, _)| deadline.is_some());
        urgent.sort_by_key(|(deadline, _)| *deadline);
        let count = urgent.len();
        self.ring = urgent.into_iter().chain(others).map(|(_, waiting)| waiting).collect();
        count
    }

    /// The next parts of the jobs of the first job's group: all of the first `urgent` jobs, one of each other job, then others.
    fn candidates(&self, limits: BatchLimits, urgent: usize) -> Vec<Candidate> {
        let most = LOOKAHEAD.saturating_mul(limits.rows).max(1);
        let Some(group) = self.ring.front().map(|waiting| waiting.job.group()) else { return vec![] };
        let jobs = || self.ring.iter().enumerate().filter(|(_, waiting)| waiting.job.group() == group);
        let candidate = |(at, waiting, part): (usize, &Waiting<J>, usize)| Candidate {
            at,
            is_urgent: at < urgent,
            part,
            tokens: waiting.job.lengths()[part],
        };
        let all = |(at, waiting)| Waiting::parts(waiting).map(move |part| (at, waiting, part));
        let mut candidates: Vec<Candidate> =
            jobs().take_while(|(at, _)| *at < urgent).flat_map(all).map(candidate).take(most).collect();
        for round in 0.. {
            let before = candidates.len();
            let others = jobs().filter(|(at, _)| *at >= urgent);
            let parts = others.filter_map(|(at, waiting)| Some((at, waiting, *waiting.rest.get(round)?)));
            candidates.extend(parts.map(candidate).take(most - before));
            if candidates.len() == before || candidates.len() >= most {
                break;
            }
        }
        candidates
    }

    /// Jobs that were served go to the end, if they have further parts.
    fn rotate(&mut self, batch: &[(usize, usize)]) {
        let mut is_served = vec![false; self.ring.len()];
        batch.iter().for_each(|(at, _)| is_served[*at] = true);
        let all = std::mem::take(&mut self.ring).into_iter().zip(is_served);
        let (served, mut others): (VecDeque<_>, VecDeque<_>) = all.partition(|(_, served)| *served);
        others.extend(served.into_iter().filter(|(waiting, _)| !waiting.rest.is_empty()));
        self.ring = others.into_iter().map(|(waiting, _)| waiting).collect();
    }
}

/// The first candidate and those whose length is most similar.
fn choose(mut candidates: Vec<Candidate>, limits: BatchLimits) -> Vec<Candidate> {
    let Some(first) = candidates.first() else { return candidates };
    let anchor = first.tokens;
    // The sort is stable: of equal lengths, the first in the ring is taken.
    candidates[1..].sort_by_key(|candidate| (!candidate.is_urgent, candidate.tokens.abs_diff(anchor)));
    let (mut longest, mut total, mut rows) = (0, 0, 0);
    candidates.retain(|candidate| {
        let padded = longest.max(candidate.tokens) * (rows + 1);
        let is_dense = padded <= SMALL || padded * 100 <= (total + candidate.tokens) * PADDED_PERCENT;
        let fits = rows == 0 || (rows < limits.rows && padded <= limits.tokens && is_dense);
        if fits {
            (longest, total, rows) = (longest.max(candidate.tokens), total + candidate.tokens, rows + 1);
        }
        fits
    });
    candidates
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Fake {
        name: char,
        group: usize,
        lengths: Vec<usize>,
        abandoned: AtomicBool,
        deadline: Option<Instant>,
    }

    impl Job for Fake {
        fn group(&self) -> usize {
            self.group
        }

        fn lengths(&self) -> &[usize] {
            &self.lengths
        }

        fn is_abandoned(&self) -> bool {
            self.abandoned.load(Ordering::Relaxed)
        }

        fn urgency(&self, _: Instant) -> Option<Instant> {
            self.deadline
        }
    }

    fn job(name: char, group: usize, lengths: &[usize]) -> Arc<Fake> {
        urgent(name, group, lengths, None)
    }

    fn urgent(name: char, group: usize, lengths: &[usize], deadline: Option<Instant>) -> Arc<Fake> {
        Arc::new(Fake { name, group, lengths: lengths.to_vec(), abandoned: AtomicBool::new(false), deadline })
    }

    fn queue(jobs: &[Arc<Fake>]) -> Queue<Fake> {
        let mut queue = Queue::new();
        jobs.iter().for_each(|job| queue.push(Arc::clone(job)));
        queue
    }

    const LIMITS: BatchLimits = BatchLimits { rows: 4, tokens: 2000 };

    /// The names of the jobs of each batch with the indices of their parts, until nothing waits.
    fn batches(queue: &mut Queue<Fake>, limits: BatchLimits) -> Vec<String> {
        let mut all = vec![];
        while !queue.is_empty() {
            let batch = queue.take(limits, Instant::now());
            let names: Vec<String> = batch.iter().map(|(job, part)| format!("{}{part}", job.name)).collect();
            all.push(names.join(" "));
        }
        all
    }

    #[test]
    fn every_part_is_in_one_batch_and_batches_keep_their_limits() {
        let lengths =
            |seed: usize| (0..seed % 5).map(|at| 1 + (seed * 37 + at * 101) % 400).collect::<Vec<_>>();
        let jobs: Vec<_> = (0..60).map(|seed| job('j', seed % 3, &lengths(seed))).collect();
        let mut queue = queue(&jobs);
        let mut found = 0;
        while !queue.is_empty() {
            let batch = queue.take(LIMITS, Instant::now());
            let tokens: Vec<usize> = batch.iter().map(|(job, part)| job.lengths[*part]).collect();
            let padded = tokens.iter().max().unwrap_or(&0) * tokens.len();
            assert!(
                batch.len() <= LIMITS.rows && (padded <= LIMITS.tokens || batch.len() == 1),
                "{tokens:?}"
            );
            assert!(batch.windows(2).all(|pair| pair[0].0.group == pair[1].0.group));
            found += batch.len();
        }
        assert_eq!(found, jobs.iter().map(|job| job.lengths.len()).sum::<usize>());
    }

    #[test]
    fn a_long_job_takes_one_place_while_others_wait() {
        let mut queue =
            queue(&[job('a', 0, &[9; 8]), job('b', 0, &[9]), job('c', 0, &[9, 9]), job('d', 0, &[9])]);
        assert_eq!(batches(&mut queue, LIMITS), ["a0 b0 c0 d0", "a1 c1 a2 a3", "a4 a5 a6 a7"]);
    }

    #[test]
    fn parts_of_similar_length_share_a_batch_and_the_first_job_is_always_served() {
        let mut queue =
            queue(&[job('a', 0, &[300]), job('b', 0, &[20]), job('c', 0, &[310]), job('d', 0, &[25])]);
        let limits = BatchLimits { rows: 2, ..LIMITS };
        assert_eq!(batches(&mut queue, limits), ["a0 c0", "b0 d0"]);
    }

    #[test]
    fn a_part_over_the_budget_is_alone_and_models_do_not_share_batches() {
        let mut queue =
            queue(&[job('a', 0, &[5000]), job('b', 1, &[5]), job('c', 0, &[5000]), job('d', 1, &[5])]);
        assert_eq!(batches(&mut queue, LIMITS), ["a0", "b0 d0", "c0"]);
    }

    #[test]
    fn jobs_whose_time_is_short_come_first_in_the_order_of_their_deadlines() {
        let now = Instant::now();
        let later = Some(now + std::time::Duration::from_secs(1));
        let mut queue = queue(&[
            job('a', 0, &[9, 9, 9]),
            urgent('b', 0, &[8, 9, 8, 9], later),
            urgent('c', 0, &[9, 9], Some(now)),
            job('d', 1, &[9]),
        ]);
        assert_eq!(batches(&mut queue, LIMITS), ["c0 c1 b1 b3", "b0 b2 a0 a1", "d0", "a2"]);
    }

    #[test]
    fn what_nobody_waits_for_is_not_run() {
        let jobs = [job('a', 0, &[5]), job('b', 0, &[5]), job('c', 0, &[])];
        jobs[0].abandoned.store(true, Ordering::Relaxed);
        let mut queue = queue(&jobs);
        assert_eq!(batches(&mut queue, LIMITS), ["b0"]);
        assert!(queue.take(LIMITS, Instant::now()).is_empty());
    }
}
