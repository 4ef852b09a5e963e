//! The files of the page: the ones built into this program, or those of a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rust_embed::Embed;

use super::answer::{Content, Data, media_type};
use crate::cache::hex;

/// Browsers keep files of the page and ask each time whether they are still good.
const ASK: &str = "no-cache";

#[derive(Embed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Built;

/// Where the files of the page come from.
#[derive(Debug, Clone)]
pub enum Files {
    /// Those that were built into this program.
    Built,
    /// Those of a folder, as they are at the time of a request.
    Folder(PathBuf),
}

/// There is no page to serve.
#[derive(Debug, thiserror::Error)]
pub enum NoPage {
    /// The program was built before the page.
    #[error(
        "this program was built without the page: in the source tree, run `cargo xtask web` and build the program again, \
         or name a folder that has the page with --dir"
    )]
    NotBuilt,
    /// The folder has none.
    #[error("{} has no index.html: `cargo xtask web` builds the page into web/dist", .0.display())]
    NotThere(PathBuf),
}

impl Files {
    /// The page in `folder`, or the one in this program where none is named.
    ///
    /// # Errors
    /// Where there is no page.
    pub fn open(folder: Option<&Path>) -> Result<Self, NoPage> {
        let Some(folder) = folder else {
            return Built::get("index.html").map(|_| Self::Built).ok_or(NoPage::NotBuilt);
        };
        let missing = || NoPage::NotThere(folder.to_path_buf());
        let folder = folder.canonicalize().map_err(|_| missing())?;
        if folder.join("index.html").is_file() { Ok(Self::Folder(folder)) } else { Err(missing()) }
    }

    /// The file called `name`, with `/` between folders; `None` for everything else, hidden files among it.
    pub(super) async fn find(&self, name: &str) -> Option<Content> {
        if !name.split('/').all(is_plain) {
            return None;
        }
        match self {
            Self::Built => {
                let file = Built::get(name)?;
                let tag = hex(&file.metadata.sha256_hash());
                Some(Content { data: Data::Held(file.data), media_type: media_type(name), tag, cache: ASK })
            }
            Self::Folder(folder) => {
                let (folder, path) = (folder.clone(), name.to_owned());
                let (data, tag) = tokio::task::spawn_blocking(move || find_inside(&folder, &path)).await.ok()??;
                Some(Content { data, media_type: media_type(name), tag, cache: ASK })
            }
        }
    }
}

/// Whether a part of a path is the name of a file or folder that may be seen, and nothing else on any system.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && part.chars().all(allowed)
}

/// The file and a tag for it, if it lies in `folder` even after links are followed.
fn find_inside(folder: &Path, name: &str) -> Option<(Data, String)> {
    let path = folder.join(name).canonicalize().ok().filter(|path| path.starts_with(folder))?;
    let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let tag = format!("{:x}-{changed:x}", metadata.len());
    Some((Data::File(path, metadata.len()), tag))
}
