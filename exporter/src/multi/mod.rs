//! Several tasks in one graph, whose input `task_id` selects the adapters and LoRA pairs of each sentence.
//!
//! - `error`: [`MultiError`]
//! - `graph`: the graphs of all tasks merged into one

pub(crate) mod error;
mod graph;

use std::path::Path;

use hyperloader_core::files::GrowingHash;
use hyperloader_core::format::multi::{TASK_ID, merge};
use hyperloader_core::format::tagger::TaggerKind;
use hyperloader_core::run::Task;
use ndarray::{ArrayD, IxDyn};

pub use self::error::MultiError;
use self::graph::merged;
use crate::data::{DataFile, Placement};
use crate::error::ExportError;
use crate::export::{Exporter, Options, PROGRAM};
use crate::exportable::Exportable;
use crate::file::{size_of, write_file};
use crate::precision::Precision;
use crate::precision::content::float32;
use crate::precision::matrices::StoredMatrices;
use crate::proof::append;
use crate::summary::{Exported, weight_groups};
use crate::verify::answers::ReferenceRun;
use crate::verify::compare::compare;
use crate::weights::Loras;

/// The model of a task, and the answers of its reference model if the file is verified.
struct Member<'a> {
    task: &'a Task,
    model: Box<dyn Exportable>,
    reference: Option<ReferenceRun>,
}

impl Exporter {
    /// Writes all tasks of the run to `path`, as one graph. `stage` receives a task and a description of each step. Returns
    /// what was written for each task.
    ///
    /// # Errors
    /// Returns [`ExportError`]. The file at `path` is then as before the call.
    pub fn export_multi(
        &self,
        path: &Path,
        options: &Options,
        stage: &dyn Fn(&str, &str),
    ) -> Result<Vec<Exported>, ExportError> {
        if options.storage.precision != Precision::F32 {
            return Err(MultiError::Precision(options.storage.precision).into());
        }
        let stored = StoredMatrices::new(options.storage.clone());
        let mut members = Vec::new();
        for (index, task) in self.run().manifest.tasks.iter().enumerate() {
            let model = self.model(task)?;
            if model.interface(&self.run().manifest, task)?.kind == TaggerKind::TokenClassifier {
                return Err(MultiError::Classifiers.into());
            }
            let reference = match &options.verification {
                Some(_) => {
                    stage(&task.name, "running the reference model");
                    let reference = model.reference_run(&self.run().manifest, task, &stored)?;
                    Some(with_task_id(reference, index))
                }
                None => None,
            };
            members.push(Member { task, model, reference });
        }
        let references: Vec<_> = members.iter_mut().map(|member| member.reference.take()).collect();
        let graphs = members.iter().map(|member| {
            Ok((member.task.name.as_str(), member.model.graph(options.opset, Loras::Separate)?))
        });
        let graph = merged(graphs.collect::<Result<_, ExportError>>()?)?;
        let properties = members.iter().map(|member| Ok(self.metadata(member.task)?.to_properties()?));
        let properties = merge(&properties.collect::<Result<Vec<_>, ExportError>>()?)?;
        let graph =
            float32(graph).with_producer(PROGRAM, env!("CARGO_PKG_VERSION")).with_metadata(properties);

        let placement = if options.external_data { Placement::Beside } else { Placement::Auto };
        stage("all tasks", "writing the file");
        write_file(
            &graph,
            &stored,
            (path, options.existing),
            placement,
            |file, data: Option<&DataFile>, mut proof| {
                let hash = GrowingHash::start(file)?;
                let mut ladders = Vec::new();
                for (Member { task, .. }, reference) in members.iter().zip(references) {
                    let (Some(verification), Some(reference)) = (&options.verification, reference) else {
                        ladders.push(None);
                        continue;
                    };
                    let stage = |step: &str| stage(&task.name, step);
                    let (ladder, vectors) = compare(&task.name, reference, file, verification, &stage)?;
                    if !ladder.holds() {
                        return Err(ExportError::Mismatch(Box::new(ladder)));
                    }
                    proof.vectors.push(vectors);
                    ladders.push(Some(ladder));
                }
                append(&proof, file)?;
                let (bytes, sha256) = (size_of(file)?, hash.finish()?);
                let weights = weight_groups(&graph);
                let exported = |(Member { task, .. }, ladder): (&Member<'_>, _)| Exported {
                    precision: Precision::F32,
                    cost: None,
                    earlier_data: data.map(|data| data.earlier(path)).unwrap_or_default(),
                    data: data.map(|data| data.path.clone()),
                    task: task.name.clone(),
                    file: path.to_owned(),
                    bytes,
                    sha256: sha256.clone(),
                    run: self.run().manifest.name.clone(),
                    step: self.step(),
                    parameters: weights.iter().map(|group| group.parameters).sum(),
                    weights: weights.clone(),
                    ladder,
                };
                Ok(members.iter().zip(ladders).map(exported).collect())
            },
        )
    }
}

/// The same run with the input that names the task of each sentence.
fn with_task_id(mut reference: ReferenceRun, index: usize) -> ReferenceRun {
    for pass in &mut reference.passes {
        let sentences = pass.first().and_then(|(_, ids)| ids.shape().first().copied()).unwrap_or(0);
        pass.push((TASK_ID, ArrayD::from_elem(IxDyn(&[sentences]), index as i64)));
    }
    reference
}
