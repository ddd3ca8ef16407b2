//! Where plugins are looked for, and in which order.
//!
//! Folders that somebody named come first, then the ones beside the program. From the program's own folder only the
//! three standard plugins are taken, by file name: in a build tree every example and test plugin lies there too.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The names of the plugins that come with the program, in the order in which they are asked.
pub const STANDARD_PLUGINS: [&str; 3] = ["ut_pex", "ut_metadata", "smart_ban"];

/// One place to look.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Place {
    /// Every plugin file of this folder. Somebody named it, so it is an error if it is missing.
    Named(PathBuf),
    /// Every plugin file of this folder, if there is such a folder.
    Usual(PathBuf),
    /// The standard plugins alone, if they are in this folder.
    OwnFolder(PathBuf),
}

/// Where to look, first to last. Of two plugins with one name the first wins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchPath {
    places: Vec<Place>,
}

impl SearchPath {
    /// The order of this process: `options` (`--plugin-dir`), `$REEF_PLUGIN_DIR`, `settings` (`plugin_dirs`), and the
    /// folders beside the program.
    #[must_use]
    pub fn of_process(options: &[PathBuf], settings: &[PathBuf]) -> Self {
        let variable = env::var_os("REEF_PLUGIN_DIR");
        let program = env::current_exe().and_then(|p| p.canonicalize()).ok();
        Self::new(options, variable.as_deref(), settings, program.as_deref())
    }

    /// The order for these sources. `variable` may name several folders, separated as in `$PATH`; `program` is the
    /// executable file.
    #[must_use]
    pub fn new(options: &[PathBuf], variable: Option<&OsStr>, settings: &[PathBuf], program: Option<&Path>) -> Self {
        let variable = variable.map(|v| env::split_paths(v).collect::<Vec<_>>()).unwrap_or_default();
        let named = options.iter().cloned().chain(variable).chain(settings.iter().cloned());
        let mut places: Vec<_> = named.filter(|p| !p.as_os_str().is_empty()).map(Place::Named).collect();
        if let Some(folder) = program.and_then(Path::parent) {
            places.push(Place::Usual(folder.join("plugins")));
            if let Some(above) = folder.parent() {
                places.push(Place::Usual(above.join("lib").join("reef").join("plugins")));
            }
            places.push(Place::OwnFolder(folder.to_owned()));
        }
        Self { places }
    }

    /// Only these folders.
    #[must_use]
    pub fn only(folders: &[PathBuf]) -> Self {
        Self { places: folders.iter().cloned().map(Place::Named).collect() }
    }

    /// The places, first to last.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

/// The plugin files of a place, by name.
pub(crate) fn plugin_files(place: &Place) -> std::io::Result<Vec<PathBuf>> {
    match place {
        Place::Named(folder) => folder_files(folder),
        Place::Usual(folder) => match folder_files(folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        },
        Place::OwnFolder(folder) => {
            let files = STANDARD_PLUGINS.iter().map(|name| folder.join(library_file(name)));
            Ok(files.filter(|file| file.is_file()).collect())
        }
    }
}

/// How a plugin's file is called where the build made it.
#[must_use]
pub fn library_file(name: &str) -> String {
    format!("{}{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX)
}

fn folder_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(env::consts::DLL_EXTENSION)) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn named_folders_come_before_those_beside_the_program() {
        let variable = env::join_paths(["/c", "/d"]).expect("no separator in them");
        let path =
            SearchPath::new(&paths(&["/a", "/b"]), Some(&variable), &paths(&["/e"]), Some(Path::new("/x/bin/reef")));
        let named = ["/a", "/b", "/c", "/d", "/e"].map(|p| Place::Named(p.into()));
        let usual = ["/x/bin/plugins", "/x/lib/reef/plugins"].map(|p| Place::Usual(p.into()));
        let own = [Place::OwnFolder("/x/bin".into())];
        assert_eq!(path.places(), [&named[..], &usual, &own].concat());
    }

    #[test]
    fn an_empty_variable_names_no_folder() {
        let path = SearchPath::new(&[], Some(OsStr::new("")), &[], None);
        assert_eq!(path.places(), []);
    }

    #[test]
    fn the_programs_own_folder_offers_the_standard_plugins_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["ut_metadata", "evil_plugin", "ut_pex"] {
            fs::write(folder.path().join(library_file(name)), "").expect("written");
        }
        fs::write(folder.path().join("notes.txt"), "").expect("written");
        let own = plugin_files(&Place::OwnFolder(folder.path().into())).expect("readable");
        assert_eq!(own, ["ut_pex", "ut_metadata"].map(|n| folder.path().join(library_file(n))));
        let named = plugin_files(&Place::Named(folder.path().into())).expect("readable");
        let by_name = ["evil_plugin", "ut_metadata", "ut_pex"].map(|n| folder.path().join(library_file(n)));
        assert_eq!(named, by_name);
    }

    #[test]
    fn only_a_named_folder_must_exist() {
        let missing = PathBuf::from("/nowhere/at/all");
        assert!(plugin_files(&Place::Named(missing.clone())).is_err());
        assert_eq!(plugin_files(&Place::Usual(missing)).expect("no error"), Vec::<PathBuf>::new());
    }
}
