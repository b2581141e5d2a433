//! An error and its causes on one line.

use std::error::Error;

/// The messages of `error` and of its causes, separated by `: `; for messages that must contain another error, such as a
/// warning. An error that can keep its cause as `source()` does not need this.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::files::FileError;

    #[test]
    fn causes_come_after_the_error() {
        let error = FileError::new("read", Path::new("a.txt"), io::Error::other("the disk is broken"));
        assert_eq!(with_causes(&error), "cannot read `a.txt`: the disk is broken");
    }
}
