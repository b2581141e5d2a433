//! The whole-chain tests use the trainer's library beside its binary: they find libtorch as it does.

#[path = "../trainer/build.rs"]
mod trainer;

fn main() {
    trainer::main();
}
