//! Model files: the graph, then one weight after the other.

use std::fs;
use std::io::Write;
use std::path::Path;

use hyperloader_core::files::{Existing, FileError, write_checked};
use hyperloader_core::format::proof::Proof;
use hyperloader_onnx::{Weight, check_size, write_model_beside};

use crate::data::{DataFile, Digesting, Digests, Placement, of_write};
use crate::error::ExportError;
use crate::precision::content::FileGraph;
use crate::precision::matrices::StoredMatrices;
use crate::proof::proof;

/// Writes `graph` to `path`, and a data file beside it if `placement` asks for one. The model file gets its name if `check`
/// accepts it, which receives the data file of its own and the digests; otherwise the data file is removed.
pub(crate) fn write_file<R>(
    graph: &FileGraph<'_>,
    stored: &StoredMatrices,
    (path, existing): (&Path, Existing),
    placement: Placement<'_>,
    check: impl FnOnce(&Path, Option<&DataFile>, Proof) -> Result<R, ExportError>,
) -> Result<R, ExportError> {
    // The file that is written, if `path` is a link: its data file lies beside it.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let has_own = match placement {
        Placement::Shared(_) => false,
        Placement::Beside => true,
        Placement::Auto => check_size(graph).is_err(),
    };
    let data = has_own.then(|| DataFile::write(graph, stored, &target, |_| true)).transpose()?;
    let beside = match placement {
        Placement::Shared(data) => Some(data),
        _ => data.as_ref(),
    };
    let write = |out: &mut dyn Write| write_graph(out, graph, beside, stored);
    let check = |file: &Path, digests: Digests| check(file, data.as_ref(), proof(graph, &digests));
    let written = write_checked(path, existing, write, check);
    if let (Err(_), Some(data)) = (&written, &data) {
        data.discard();
    }
    written
}

/// Size of a file in bytes.
pub(crate) fn size_of(file: &Path) -> Result<u64, FileError> {
    Ok(fs::metadata(file).map_err(|error| FileError::new("read", file, error))?.len())
}

/// Streams a file to `out`: the graph, then one weight after the other. Those in the data file `beside` are references.
/// Returns the digests of all weights.
pub(crate) fn write_graph(
    mut out: &mut dyn Write,
    graph: &FileGraph<'_>,
    beside: Option<&DataFile>,
    stored: &StoredMatrices,
) -> Result<Digests, ExportError> {
    let (external, known) =
        beside.map(|data| (data.external.clone(), data.digests.clone())).unwrap_or_default();
    let mut digests = Digesting::with(known);
    let elements = |weight: &Weight<_>| digests.elements(weight, stored);
    write_model_beside(&mut out, graph, &external, elements).map_err(of_write)?;
    Ok(digests.finish())
}
