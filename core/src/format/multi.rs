//! Files with several tasks: their metadata, and the names in their graphs.

use std::collections::BTreeMap;

use super::tagger::{DRAFT_TAGS, MetadataError};

/// Name of the property that lists the tasks: for each, the properties that are not the same for all.
pub const TASKS: &str = "hyperloader.tasks";
/// Graph input: the index of each sentence's task in [`TASKS`], `[batch]`, int64.
pub const TASK_ID: &str = "task_id";

/// Output of the drafter of `task`, as [`DRAFT_TAGS`].
pub fn draft_tags(task: &str) -> String {
    format!("{DRAFT_TAGS}.{task}")
}

/// The properties of a file with several tasks, from those of each task's own file.
///
/// # Errors
/// Only if the list cannot be written as JSON.
pub fn merge(tasks: &[BTreeMap<String, String>]) -> Result<BTreeMap<String, String>, MetadataError> {
    let in_all = |(key, value): &(&String, &String)| tasks.iter().all(|task| task.get(*key) == Some(value));
    let same: BTreeMap<String, String> = tasks
        .iter()
        .take(1)
        .flatten()
        .filter(in_all)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let own = |task: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        task.iter()
            .filter(|(key, _)| !same.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let own: Vec<_> = tasks.iter().map(own).collect();
    let list = serde_json::to_string(&own).map_err(MetadataError::Fields)?;
    Ok(same.into_iter().chain([(TASKS.to_owned(), list)]).collect())
}

/// The properties of each task's own file; those of the file itself if it has one task.
///
/// # Errors
/// If the list of tasks is malformed.
pub fn split(properties: BTreeMap<String, String>) -> Result<Vec<BTreeMap<String, String>>, MetadataError> {
    let mut same = properties;
    let Some(list) = same.remove(TASKS) else { return Ok(vec![same]) };
    let own: Vec<BTreeMap<String, String>> = serde_json::from_str(&list)
        .map_err(|source| MetadataError::Field { field: "tasks".to_owned(), source })?;
    Ok(own.into_iter().map(|own| same.clone().into_iter().chain(own).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_properties_of_each_task_come_back() {
        let task = |task: &str, labels: &str| -> BTreeMap<String, String> {
            [("hyperloader.format", "2"), ("hyperloader.task", task), ("hyperloader.labels", labels)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        let mut other = task("b", "[\"x\"]");
        other.insert("hyperloader.calibration".to_owned(), "{}".to_owned());
        let tasks = vec![task("a", "[]"), other];
        let merged = merge(&tasks).unwrap();
        assert_eq!(merged.keys().collect::<Vec<_>>(), ["hyperloader.format", TASKS]);
        assert_eq!(split(merged).unwrap(), tasks);
        assert_eq!(split(task("a", "[]")).unwrap(), [task("a", "[]")]);
        let bad = [(TASKS.to_owned(), "{}".to_owned())].into();
        assert!(split(bad).unwrap_err().to_string().contains("`hyperloader.tasks`"));
    }
}
