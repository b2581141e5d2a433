//! An error and its causes on one line.

use std::error::Error;

/// The messages of `error` and of its causes, separated by `: `, then the `hint: ` lines of all of them; for messages that
/// must contain another error, such as a warning. An error that can keep its cause as `source()` does not need this.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let (mut messages, mut hints) = (Vec::new(), Vec::new());
    for message in chain.map(ToString::to_string) {
        let lines = message.lines().map(str::to_owned);
        let (of_message, body): (Vec<String>, Vec<String>) =
            lines.partition(|line| line.starts_with("hint: "));
        messages.push(body.join("\n"));
        hints.extend(of_message);
    }
    [vec![messages.join(": ")], hints].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::files::FileError;
    use crate::weights::tensors::TensorError;

    #[test]
    fn causes_come_after_the_error() {
        let error = FileError::new("read", Path::new("a.txt"), io::Error::other("the disk is broken"));
        assert_eq!(with_causes(&error), "cannot read `a.txt`: the disk is broken");
    }

    #[test]
    fn hints_come_last() {
        let path = Path::new("a.onnx").to_owned();
        let source = safetensors::SafeTensorError::HeaderTooSmall;
        let message = with_causes(&TensorError::Format { path, source });
        insta::assert_snapshot!(message, @r"
        `a.onnx` is not a complete safetensors file: header too small
        hint: it may be truncated; fetch or write it again
        ");
    }
}
