//! What can be wrong with a file of PyTorch.

use std::path::PathBuf;

use hyperloader_core::files::FileError;

/// A file of PyTorch cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum PickleError {
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not an archive of PyTorch.
    #[error(
        "`{}` is not a ZIP archive that `torch.save` wrote\n\
         hint: PyTorch before 1.6 wrote other files; load and save it again, or convert it to safetensors",
        path.display()
    )]
    Archive { path: PathBuf, source: zip::result::ZipError },
    /// A part of the archive is missing.
    #[error("`{}` has no file `{name}`\nhint: it may be truncated; fetch it again", path.display())]
    Missing { path: PathBuf, name: String },
    /// The description of the tensors cannot be used.
    #[error("cannot read the tensors of `{}`", path.display())]
    Pickle { path: PathBuf, source: PickleFault },
}

/// What is wrong with the description of the tensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum PickleFault {
    /// It names a function that has nothing to do with tensors.
    #[error(
        "it calls `{name}`, which does not belong in a file of tensors\n\
         hint: nothing was run; save the model's `state_dict()` alone, or convert it to safetensors"
    )]
    Call { name: String },
    /// It has an instruction that checkpoints do not need.
    #[error("instruction {code:#04x} at byte {at} is not one of those that describe tensors")]
    Instruction { code: u8, at: usize },
    /// It ends too early.
    #[error("it ends too early")]
    Truncated,
    /// Its instructions do not fit together.
    #[error("its instructions do not describe tensors")]
    Order,
    /// A list or dictionary is used twice.
    #[error("it refers to a list or dictionary twice")]
    Shared,
    /// It has more instructions than a description of tensors needs.
    #[error("it has too many instructions for a description of tensors")]
    Large,
    /// Its containers are in each other too often.
    #[error("its tuples, lists and dictionaries are too deep in each other")]
    Deep,
    /// The elements of a tensor do not stand for themselves.
    #[error(
        "a tensor is marked as negative or as conjugate\nhint: save `tensor.resolve_neg()` and `tensor.resolve_conj()`"
    )]
    Marked,
    /// A file of the archive has another size than its tensor.
    #[error("its file `{name}` has {found} bytes, expected {expected}, not compressed")]
    Size { name: String, found: u64, expected: u64 },
    /// It is not a dictionary of tensors.
    #[error("it is not a dictionary of tensors: {found}")]
    NotTensors { found: String },
    /// A tensor is not within its storage.
    #[error("tensor `{name}` of shape {shape:?} does not fit its storage of {len} elements")]
    Bounds { name: String, shape: Vec<usize>, len: usize },
    /// A tensor holds no floats.
    #[error("tensor `{name}` does not hold floats")]
    Elements { name: String },
    /// The elements have another order of bytes.
    #[error("its numbers are big-endian")]
    BigEndian,
}
