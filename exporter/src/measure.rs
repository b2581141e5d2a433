//! Measures what the precision of a file costs: tags sentences with it, and with files that are stored in other ways.

use std::fs;
use std::path::Path;

use hyperloader_core::files::FileError;
use hyperloader_core::run::Task;

use crate::cost::{Cost, CostCheck, Evaluated, TooCostly, groups};
use crate::data::Placement;
use crate::error::ExportError;
use crate::export::{Exporter, Options, Written};
use crate::precision::Storage;
use crate::precision::content::FileGraph;
use crate::precision::matrices::StoredMatrices;

impl Exporter {
    /// The cost of the precision of `file`, which holds `task`.
    pub(crate) fn cost(
        &self,
        task: &Task,
        file: &Path,
        options: &Options,
        check: &CostCheck,
        stage: &dyn Fn(&str),
    ) -> Result<Cost, ExportError> {
        let precision = options.storage.precision;
        stage(&format!("tagging {} sentences in f32 and {precision}", check.sentences.len()));
        let float32 = self.evaluate(task, options, Storage::default(), file, check)?;
        let cost = check.evaluate(file)?.cost(&float32);
        if cost.drop() <= check.max_f1_drop {
            return Ok(cost);
        }
        let kept = match check.explains {
            true => self.responsible(task, file, options, check, stage)?,
            false => Vec::new(),
        };
        let precision = precision.name();
        Err(ExportError::Cost(Box::new(TooCostly { precision, cost, max_f1_drop: check.max_f1_drop, kept })))
    }

    /// F1 of `task` with each group of matrices in float32, best first.
    fn responsible(
        &self,
        task: &Task,
        file: &Path,
        options: &Options,
        check: &CostCheck,
        stage: &dyn Fn(&str),
    ) -> Result<Vec<(&'static str, f64)>, ExportError> {
        stage("searching for the matrices that are responsible");
        let in_fewer_bits = |graph: &FileGraph<'_>, _: &StoredMatrices| {
            let weights = graph.weights.iter().filter(|weight| !weight.source.is_float32());
            Ok(weights.map(|weight| weight.name.clone()).collect::<Vec<_>>())
        };
        let names = self.with_graph(&task.name, options, in_fewer_bits)?;
        let mut kept = Vec::new();
        for (pattern, parsed) in groups().filter(|(_, parsed)| names.iter().any(|name| parsed.matches(name)))
        {
            let mut storage = options.storage.clone();
            storage.keep_f32.push(parsed);
            kept.push((pattern, self.evaluate(task, options, storage, file, check)?.f1()));
        }
        kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(kept)
    }

    /// Tags the sentences of `check` with a file of `task` that is stored in another way. It is written beside `file`, and
    /// removed.
    fn evaluate(
        &self,
        task: &Task,
        options: &Options,
        storage: Storage,
        file: &Path,
        check: &CostCheck,
    ) -> Result<Evaluated, ExportError> {
        let other = file.with_extension("other");
        let options = Options { opset: options.opset, storage, ..Options::unchecked() };
        let evaluate = |file: &Path, written: Written| Ok((check.evaluate(file), written.data));
        let (evaluated, data) =
            self.write_placed(task, &other, &options, Placement::Auto, &|_| {}, evaluate)?;
        for file in data.iter().chain([&other]) {
            fs::remove_file(file).map_err(|error| FileError::new("remove", file, error))?;
        }
        Ok(evaluated?)
    }
}
