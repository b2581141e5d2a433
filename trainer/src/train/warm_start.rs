//! Whether a training can start from the checkpoint of another run.

use hyperloader_core::method::MethodConfig;
use hyperloader_core::run::{Manifest, Run, Task};

use super::error::TrainError;
use super::materials::Materials;
use crate::config::Config;

/// Checks that `run` has the same tasks, method and backbone as the configuration, and the same labels where a model has
/// classifiers.
///
/// # Errors
/// Names the first difference with both values.
pub(super) fn check(config: &Config, materials: &Materials, run: &Run) -> Result<(), TrainError> {
    let Manifest { name, method, tasks, backbone: trained_on, .. } = &run.manifest;
    let hash = materials.base.backbone().hash()?;
    let theirs: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let ours: Vec<&str> = config.tasks.keys().map(String::as_str).collect();
    let methods = [method.method(), config.method.method()].map(|method| format!("`{method}`"));
    let [their_method, our_method] = methods;
    let (what, theirs, ours) = if their_method != our_method {
        ("method", their_method, our_method)
    } else if theirs != ours {
        ("set of tasks", quoted(&theirs), quoted(&ours))
    } else if *method != config.method {
        // As in a configuration, on one line.
        let text = |method: &MethodConfig| serde_json::to_string(method).unwrap_or_default();
        ("set of hyper-parameters", text(method), text(&config.method))
    } else if trained_on.sha256 != hash {
        ("backbone's SHA-256", trained_on.sha256.clone(), hash)
    } else if let Some((theirs, ours)) = different_labels(materials, tasks) {
        ("list of labels", theirs, ours)
    } else {
        return Ok(());
    };
    Err(TrainError::WarmStart { run: name.clone(), what, theirs, ours })
}

/// The labels of the first task whose classifier would differ: those of the run and those of the configuration.
fn different_labels(materials: &Materials, tasks: &[Task]) -> Option<(String, String)> {
    if !materials.base.has_classifiers() {
        return None;
    }
    tasks.iter().zip(&materials.data).find_map(|(theirs, ours)| {
        let labels: Vec<&str> = ours.labels.iter().collect();
        (theirs.labels != labels).then(|| (quoted(&theirs.labels), quoted(&labels)))
    })
}

fn quoted(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
