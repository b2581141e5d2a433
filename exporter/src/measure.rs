//! Measures what the precision of a file costs: tags sentences with it, and with files that are stored in other ways.

use std::fs;
use std::path::Path;

use glob::Pattern;
use hyperloader_core::files::FileError;
use hyperloader_core::run::Task;
use hyperloader_onnx::Opset;

use crate::cost::{Cost, CostCheck, Evaluated, TooCostly};
use crate::data::Placement;
use crate::error::ExportError;
use crate::export::{Exporter, Options, Written};
use crate::precision::Storage;

impl Exporter {
    /// The cost of the precision of `file`, which holds `task`.
    ///
    /// # Errors
    /// Returns [`ExportError::Cost`] if it is more than `check` accepts.
    pub(crate) fn cost(
        &self,
        task: &Task,
        file: &Path,
        options: &Options,
        check: &CostCheck,
        stage: &dyn Fn(&str),
    ) -> Result<Cost, ExportError> {
        let precision = options.storage.precision;
        stage(&format!("tagging {} sentences in f32 and {precision}", check.len()));
        let other = |storage| Other { exporter: self, task, file, opset: options.opset, storage, check };
        let float32 = check.float32(|| other(Storage::default()).evaluate())?;
        let cost = check.evaluate(file)?.cost(float32);
        if cost.f1_drop() <= check.max_f1_drop {
            return Ok(cost);
        }
        let mut kept = Vec::new();
        if options.explain {
            stage("searching for the matrices that are responsible");
            for group in self.groups(task, options)? {
                let mut storage = options.storage.clone();
                storage.keep_f32.extend(Pattern::new(group));
                kept.push((group, other(storage).evaluate()?.f1()));
            }
            kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        }
        let (precision, max_f1_drop) = (precision.name(), check.max_f1_drop);
        Err(ExportError::Cost(Box::new(TooCostly { precision, cost, max_f1_drop, kept })))
    }

    /// The groups of matrices of `task` of which one is stored in fewer bits, as patterns.
    fn groups(&self, task: &Task, options: &Options) -> Result<Vec<&'static str>, ExportError> {
        self.with_graph(task, options, |model, graph, _| {
            let lowered = || graph.weights.iter().filter(|weight| !weight.source.is_float32());
            let has_one = |group: &&&str| {
                let pattern = Pattern::new(group);
                pattern.is_ok_and(|pattern| lowered().any(|weight| pattern.matches(&weight.name)))
            };
            Ok(model.groups().iter().filter(has_one).copied().collect())
        })
    }
}

/// A file of a task that is stored in another way than `file`.
struct Other<'a> {
    exporter: &'a Exporter,
    task: &'a Task,
    file: &'a Path,
    opset: Opset,
    storage: Storage,
    check: &'a CostCheck,
}

impl Other<'_> {
    /// Tags the sentences with it. It is written beside `file`, and removed.
    fn evaluate(self) -> Result<Evaluated, ExportError> {
        let path = self.file.with_extension("other");
        let options = Options { opset: self.opset, storage: self.storage, ..Options::unchecked() };
        let evaluate = |file: &Path, written: Written| Ok((self.check.evaluate(file), written.data));
        let (evaluated, data) =
            self.exporter.write_placed(self.task, &path, &options, Placement::Auto, &|_| {}, evaluate)?;
        for file in data.iter().map(|data| &data.path).chain([&path]) {
            fs::remove_file(file).map_err(|error| FileError::new("remove", file, error))?;
        }
        Ok(evaluated?)
    }
}
