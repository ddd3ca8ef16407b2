//! Which plugins a search path offers: each name once, in the order in which they are asked.

use crate::error::{LoadError, Problem};
use crate::image::{FileInfo, PluginFile};
use crate::search_path::{Place, STANDARD_PLUGINS, SearchPath, plugin_files};
use std::path::{Path, PathBuf};

/// What the plugins of a search path say of themselves, and what is wrong with the other files. Nothing is mapped or run.
#[must_use]
pub fn find(path: &SearchPath) -> (Vec<FileInfo>, Vec<LoadError>) {
    let (found, errors) = discover(path, |_| None);
    (found.iter().map(|(path, file)| file.info(path)).collect(), errors)
}

/// Reads the files of a search path. `loaded` says where a plugin that takes part already came from.
pub(crate) fn discover<'a>(
    path: &SearchPath,
    loaded: impl Fn(&str) -> Option<&'a Path>,
) -> (Vec<(PathBuf, PluginFile)>, Vec<LoadError>) {
    let mut errors = Vec::new();
    let mut found: Vec<(PathBuf, PluginFile)> = Vec::new();
    for place in path.places() {
        for path in files_of(place, &mut errors) {
            let file = PluginFile::read(&path).and_then(|file| {
                let name = file.manifest.name.as_str();
                let before = found.iter().find(|(_, other)| other.manifest.name == name);
                match before.map(|(path, _)| path.as_path()).or_else(|| loaded(name)) {
                    None => Ok(Some(file)),
                    Some(first) if first.canonicalize().ok() == path.canonicalize().ok() => Ok(None),
                    Some(first) => Err(Problem::Duplicate { name: name.to_owned(), first: first.to_owned() }),
                }
            });
            match file {
                Ok(Some(file)) => found.push((path, file)),
                Ok(None) => (),
                Err(problem) => errors.push(LoadError::new(&path, problem)),
            }
        }
    }
    found.sort_by(|(_, a), (_, b)| rank(&a.manifest.name).cmp(&rank(&b.manifest.name)));
    (found, errors)
}

/// Where a plugin of this name stands in the order.
pub(crate) fn rank(name: &str) -> (usize, &str) {
    let standard = STANDARD_PLUGINS.iter().position(|standard| *standard == name);
    (standard.unwrap_or(STANDARD_PLUGINS.len()), name)
}

fn files_of(place: &Place, errors: &mut Vec<LoadError>) -> Vec<PathBuf> {
    match plugin_files(place) {
        Ok(files) => files,
        Err(error) => {
            let (Place::Named(folder) | Place::Usual(folder) | Place::OwnFolder(folder)) = place;
            let problem = match error.kind() {
                std::io::ErrorKind::NotFound => Problem::NoFolder,
                _ => Problem::Read(error),
            };
            errors.push(LoadError::new(folder, problem));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_plugins_come_first_in_their_own_order() {
        let mut names = ["b", "smart_ban", "a", "ut_metadata", "ut_pex"];
        names.sort_by(|a, b| rank(a).cmp(&rank(b)));
        assert_eq!(names, ["ut_pex", "ut_metadata", "smart_ban", "a", "b"]);
    }
}
