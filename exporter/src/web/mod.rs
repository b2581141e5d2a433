//! Sites: a task as a folder of static files, with which a browser tags text (docs/browser.md).
//!
//! - `error`: [`WebError`]
//! - `folder`: folders that appear complete or not at all
//! - `parts`: the page, the module in JavaScript, and the packages that it is built on
//! - `metadata`: `tagger.json`
//! - `write`: writes single files

pub(crate) mod error;
mod folder;
mod metadata;
pub(crate) mod parts;
mod write;

use std::fs;
use std::path::Path;

use hyperloader_core::files::{FileError, sha256};
use hyperloader_runtime::ModelFile;

use self::error::WebError;
use self::folder::NewFolder;
use self::metadata::{DECODER, ENCODER, METADATA, SiteFile, TOKENIZER, metadata};
use self::parts::Packages;
use self::write::{size_of_all, write_graph, write_text};
use crate::data::Placement;
use crate::error::ExportError;
use crate::export::{Exporter, Options};
use crate::summary::Exported;

pub use self::folder::check_site;

impl Exporter {
    /// Writes `task` to `folder` as a site: a page, the module in JavaScript, encoder and decoder as two graphs with one file
    /// of weights, and their metadata. The site is that of the file that [`Exporter::export`] writes, which is verified first.
    /// `stage` receives a description of each step.
    ///
    /// # Errors
    /// Returns [`ExportError`], also if the task is a token classifier or its rule for words is `unicode`, which the module
    /// lacks. `folder` is then as before the call.
    pub fn export_web(
        &self,
        task: &str,
        folder: &Path,
        options: &Options,
        packages: &Packages,
        stage: &dyn Fn(&str),
    ) -> Result<Exported, ExportError> {
        metadata::check(&self.metadata(self.run().task(task)?)?)?;
        let new = NewFolder::create(folder, options.existing)?;
        let model = new.path().join(format!("{task}.onnx"));
        let exported = self.export_placed(task, &model, options, Placement::Beside, stage)?;
        stage("splitting the graph into an encoder and a decoder");
        self.write_site(new.path(), &model, &exported)?;
        stage("writing the page and the module");
        parts::write(new.path(), packages)?;
        let bytes = size_of_all(new.path())?;
        let digest = sha256(&new.path().join(METADATA))?;
        new.commit()?;
        Ok(Exported {
            file: folder.to_owned(),
            bytes,
            sha256: digest,
            data: None,
            earlier_data: vec![],
            ..exported
        })
    }

    /// Writes the graphs, the tokenizer and the metadata, and removes the model file, whose weights stay.
    fn write_site(&self, folder: &Path, model: &Path, exported: &Exported) -> Result<(), ExportError> {
        let file = ModelFile::open(model).map_err(WebError::from)?;
        let halves = file.halves().map_err(WebError::from)?;
        let weights = exported.data.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        let weights = weights.ok_or(WebError::NoWeights)?;
        for (name, graph) in [(ENCODER, &halves.encoder), (DECODER, &halves.decoder)] {
            write_graph(&folder.join(name), graph)?;
        }
        write_text(&folder.join(TOKENIZER), &file.metadata().tokenizer)?;
        let files = [ENCODER, DECODER, weights, TOKENIZER].map(|name| SiteFile::of(folder, name));
        let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
        let text = metadata(file.metadata(), &halves, exported.precision, weights, files)?;
        write_text(&folder.join(METADATA), &text)?;
        fs::remove_file(model).map_err(|error| FileError::new("remove", model, error).into())
    }
}
