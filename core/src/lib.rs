//! What the three HyperLoader programs agree on: SentT', corpora, T5's shape, methods, run folders
