//! Ranges of the values of a configuration.

use super::Config;
use super::error::ConfigError;
use super::paths::is_folder_name;

impl Config {
    /// Checks that all values are in range.
    ///
    /// # Errors
    /// Names the first value that is not, and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let t = &self.training;
        if let Some(name) = &self.name
            && !is_folder_name(name)
        {
            let expected = "a folder name: not empty, no `/`, not `.` or `..`";
            return Err(ConfigError::Value {
                field: "name".to_owned(),
                value: format!("`{name}`"),
                expected: expected.into(),
            });
        }
        let at_least_one = [
            ("training.steps", t.steps),
            ("training.batch_size", t.batch_size as u64),
            ("training.gradient_accumulation", t.gradient_accumulation as u64),
            ("training.parts", t.parts as u64),
            ("training.evaluate_every", t.evaluate_every),
            ("training.patience", t.patience.unwrap_or(1)),
            ("training.save_every", t.save_every.unwrap_or(1)),
            ("training.keep_last", t.keep_last as u64),
            ("training.evaluation_batch_size", t.evaluation_batch_size as u64),
            ("training.log_every", t.log_every),
            ("training.threads", t.threads.unwrap_or(1) as u64),
        ];
        for (field, value) in at_least_one {
            check(field, value as f64, value >= 1, "at least 1")?;
        }
        for (field, value) in
            [("training.max_source_len", t.max_source_len), ("training.max_target_len", t.max_target_len)]
        {
            check(field, value as f64, (4..=1 << 16).contains(&value), "a number from 4 to 65536")?;
        }
        for (field, value) in
            [("training.batch_size", t.batch_size), ("training.threads", t.threads.unwrap_or(1))]
        {
            check(field, value as f64, value <= 1 << 20, "at most 1048576")?;
        }
        if t.parts > t.batch_size {
            return Err(ConfigError::Value {
                field: "training.parts".to_owned(),
                value: t.parts.to_string(),
                expected: format!("at most the {} sentences of `training.batch_size`", t.batch_size).into(),
            });
        }
        let rate = t.learning_rate;
        check("training.learning_rate", rate, rate > 0.0 && rate.is_finite(), "a number above 0")?;
        let share = |field, x: f64| check(field, x, (0.0..1.0).contains(&x), "a number from 0 to below 1");
        share("training.label_smoothing", t.label_smoothing)?;
        share("training.dropout", t.dropout.unwrap_or(0.0))?;
        share("training.weight_decay", t.weight_decay)?;
        let norm = t.max_grad_norm;
        check("training.max_grad_norm", norm, norm > 0.0, "a number above 0")?;
        let fraction = t.fraction;
        check(
            "training.fraction",
            fraction,
            fraction > 0.0 && fraction <= 1.0,
            "a number above 0 and at most 1",
        )?;
        let heat = t.temperature;
        check("training.temperature", heat, heat >= 1.0 && heat.is_finite(), "a number of at least 1")?;
        check("task", self.tasks.len() as f64, !self.tasks.is_empty(), "at least one `[task.NAME]`")?;
        self.validate_streams()
    }

    /// Checks that what streamed tasks cannot have is not set.
    fn validate_streams(&self) -> Result<(), ConfigError> {
        let t = &self.training;
        for (task, spec) in self.tasks.iter().filter(|(_, spec)| spec.stream) {
            let wrong = |field: &str, value: String, expected: &str| ConfigError::Value {
                field: field.to_owned(),
                value,
                expected: format!("{expected}, because task `{task}` is streamed").into(),
            };
            if spec.valid.is_none() {
                return Err(wrong(&format!("task.{task}.valid"), "not set".into(), "a file"));
            }
            if t.fraction < 1.0 {
                return Err(wrong("training.fraction", t.fraction.to_string(), "1"));
            }
        }
        Ok(())
    }
}

fn check(field: &str, value: f64, fine: bool, expected: &'static str) -> Result<(), ConfigError> {
    if fine {
        return Ok(());
    }
    Err(ConfigError::Value { field: field.to_owned(), value: value.to_string(), expected: expected.into() })
}
