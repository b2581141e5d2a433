// The whole-chain tests use the trainer's library beside its binary: they find libtorch as it does.
include!("../trainer/build.rs");
