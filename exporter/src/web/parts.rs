//! The files of a site that are the same for all tasks: the page, the module in JavaScript, which is part of the program, and the
//! packages of npm that it is built on, which `cargo xtask web` fetches.

use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::files::FileError;

use super::error::WebError;
use super::metadata::METADATA;
use super::write::{write_bytes, write_text};
use crate::error::ExportError;

/// Where `cargo xtask web` puts the packages, below the root of the clone.
const NATIVE: &str = ".native/web/packages";

/// Folder of the module in a site.
const MODULE: &str = "hyperloader";
/// Folder of the packages in a site.
const VENDOR: &str = "vendor";

/// Files of the packages. Those that a page imports have their versions in their names.
pub const PACKAGES: [&str; 4] = [
    "onnxruntime-web-1.30.0.mjs",
    // Named in the file above.
    "ort-wasm-simd-threaded.wasm",
    "tokenizers-0.2.0.mjs",
    "LICENSES.txt",
];

/// What the module imports: the packages, which lie in the folder beside its own.
const IMPORTS: &str = "export { Tokenizer } from \"../vendor/tokenizers-0.2.0.mjs\";\n\
                       export * as ort from \"../vendor/onnxruntime-web-1.30.0.mjs\";\n";

macro_rules! page {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../web/page/", $name)))
    };
}

macro_rules! module {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../web/src/", $name)))
    };
}

/// Files of the page. Style and icon are those of hl-serve's page.
const PAGE: [(&str, &str); 4] = [
    page!("index.html"),
    page!("page.js"),
    ("page.css", include_str!("../../../server/assets/playground.css")),
    ("favicon.svg", include_str!("../../../server/assets/favicon.svg")),
];

/// Files of the module. The content of `vendor.js` is another one.
const SOURCES: [(&str, &str); 22] = [
    module!("charsmap.js"),
    module!("codec.js"),
    module!("decoder.js"),
    module!("document/boundaries.js"),
    module!("document/document.js"),
    module!("document/merge.js"),
    module!("document/plan.js"),
    module!("drafter.js"),
    module!("errors.js"),
    module!("grammar.js"),
    module!("index.js"),
    module!("metadata.js"),
    module!("offsets.js"),
    module!("read-target.js"),
    module!("row.js"),
    module!("scores.js"),
    module!("sessions.js"),
    module!("site.js"),
    module!("spans.js"),
    module!("tagger.js"),
    ("vendor.js", IMPORTS),
    module!("words.js"),
];

/// The packages that a page needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// The packages in `folder`.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, ExportError> {
        let folder = folder.into();
        for name in PACKAGES {
            let path = folder.join(name);
            fs::metadata(&path).map_err(|source| WebError::Package { path, source })?;
        }
        Ok(Self { folder })
    }

    /// The packages that `cargo xtask web` put into a folder around the program or the current folder.
    ///
    /// # Errors
    /// If there are none.
    pub fn find() -> Result<Self, ExportError> {
        let places = [std::env::current_exe().ok(), std::env::current_dir().ok()];
        let folders = places.iter().flatten().flat_map(|place| place.ancestors());
        let found = folders.map(|folder| folder.join(NATIVE)).find(|folder| folder.is_dir());
        match found {
            Some(folder) => Self::new(folder),
            None => Err(WebError::NoPackages(NATIVE.into()).into()),
        }
    }
}

/// Whether the file at `path` in a site is one that an export wrote. `listed` are the names of files in the site's metadata.
pub(super) fn is_of_site(path: &str, listed: &[String]) -> bool {
    match path.split_once('/') {
        None => {
            let is_own = path == METADATA || PAGE.iter().any(|(file, _)| *file == path);
            is_own || listed.iter().any(|name| name == path)
        }
        Some((MODULE, file)) => SOURCES.iter().any(|(source, _)| *source == file),
        Some((VENDOR, file)) => PACKAGES.contains(&file) || is_other_version(file),
        Some(_) => false,
    }
}

/// Whether a file of the packages has the name of another version.
fn is_other_version(file: &str) -> bool {
    ["onnxruntime-web-", "tokenizers-"].iter().any(|name| file.starts_with(name)) && file.ends_with(".mjs")
}

/// Writes the page, the module and the packages to `folder`.
pub(super) fn write(folder: &Path, packages: &Packages) -> Result<(), ExportError> {
    let create = |path: PathBuf| {
        fs::create_dir_all(&path).map_err(|error| FileError::new("create", &path, error))?;
        Ok::<_, FileError>(path)
    };
    for (name, text) in PAGE {
        write_text(&folder.join(name), text)?;
    }
    let module = create(folder.join(MODULE))?;
    create(module.join("document"))?;
    for (name, text) in SOURCES {
        write_text(&module.join(name), text)?;
    }
    let vendor = create(folder.join(VENDOR))?;
    for name in PACKAGES {
        let path = packages.folder.join(name);
        let bytes = fs::read(&path).map_err(|source| WebError::Package { path, source })?;
        write_bytes(&vendor.join(name), &bytes)?;
    }
    Ok(())
}
