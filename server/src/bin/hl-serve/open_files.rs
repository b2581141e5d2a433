//! The system's limit of open files: each connection takes one.

/// Files that may be open besides connections: models, logs, the listener.
#[cfg(unix)]
const OTHERS: usize = 64;

/// Raises the limit as far as the system allows. Returns the number of connections that it leaves; none without a limit.
#[cfg(unix)]
pub(crate) fn raise() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If it cannot be raised, it is as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = usize::try_from(getrlimit(Resource::Nofile).current?).unwrap_or(usize::MAX);
    Some(files.saturating_sub(OTHERS).max(1))
}

#[cfg(not(unix))]
pub(crate) fn raise() -> Option<usize> {
    None
}
