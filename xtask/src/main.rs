//! Setup, demo, test and bench of the HyperLoader workspace.
fn main() {}
