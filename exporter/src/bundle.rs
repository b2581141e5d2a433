//! Bundles: several tasks of a run as one model file each, with one data file of the weights that all of them have.

use std::path::Path;

use hyperloader_core::files::FileError;
use hyperloader_core::run::Task;

use crate::data::{DataFile, Placement, digests, shared};
use crate::error::ExportError;
use crate::export::{Exporter, Options};
use crate::summary::Exported;

/// Begins the name of the shared data file.
const SHARED: &str = "shared";

impl Exporter {
    /// Writes each of `tasks` as `TASK.onnx` to `folder`, which is created, and the large weights that are the same in all of
    /// them once, to `shared-HASH.weights`. Each model file can be used alone if the data file lies beside it. `options` gives
    /// the options of a task, which must have one operator set and one precision. `stage` receives a task and a description of
    /// each step.
    ///
    /// # Errors
    /// Returns [`ExportError`] of the first task that cannot be exported. The files of tasks before it are complete.
    pub fn export_bundle(
        &self,
        tasks: &[String],
        folder: &Path,
        options: &dyn Fn(&str) -> Options,
        stage: &dyn Fn(&str, &str),
    ) -> Result<Vec<Exported>, ExportError> {
        std::fs::create_dir_all(folder).map_err(|error| FileError::new("create", folder, error))?;
        let tasks = tasks.iter().map(|task| self.run().task(task)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = tasks.first() else { return Ok(Vec::new()) };
        let digest = |task: &&Task| {
            stage(&task.name, "comparing its weights with those of the other tasks");
            self.with_graph(task, &options(&task.name), |_, graph, stored| digests(graph, stored))
        };
        let names = shared(&tasks.iter().map(digest).collect::<Result<Vec<_>, _>>()?);
        let data = self.with_graph(first, &options(&first.name), |_, graph, stored| {
            DataFile::write(graph, stored, &folder.join(SHARED), |weight| names.contains(&weight.name))
        })?;
        let export = |task: &Task| {
            let path = folder.join(format!("{}.onnx", task.name));
            let stage = |step: &str| stage(&task.name, step);
            let placement = Placement::Shared(&data);
            let exported = self.export_placed(&task.name, &path, &options(&task.name), placement, &stage)?;
            Ok(Exported { data: Some(data.path.clone()), ..exported })
        };
        let mut exported = Vec::new();
        for task in tasks {
            match export(task) {
                Ok(task) => exported.push(task),
                Err(error) => {
                    // Nothing refers to the data file before the first task is complete.
                    if exported.is_empty() {
                        data.discard();
                    }
                    return Err(error);
                }
            }
        }
        if let Some(last) = exported.last_mut() {
            last.earlier_data = data.earlier(&folder.join(SHARED));
        }
        Ok(exported)
    }
}
