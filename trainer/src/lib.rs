//! hl-train: trains multi-task T5 taggers with libtorch
