//! Where a torrent's content lies.

use std::path::{Path, PathBuf};

use reef_proto::metainfo::Info;

use super::failure::Failure;

/// The folder that holds the torrent's file or folder. What was typed may be that folder, or the content itself.
pub(crate) fn folder(dir: &Path, info: &Info) -> Result<PathBuf, Failure> {
    let found = std::fs::metadata(dir).map_err(|error| Failure::io(dir, &error))?;
    let is_content =
        dir.file_name().is_some_and(|name| name == info.name.as_str()) && found.is_dir() == info.multi_file;
    if is_content && !dir.join(&info.name).exists() {
        return Ok(match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_path_buf(),
            None => dir.to_path_buf(),
        });
    }
    if found.is_dir() {
        return Ok(dir.to_path_buf());
    }
    Err(Failure::new(format!("{}: this is not a folder; give the one that holds {}", dir.display(), info.name)))
}
