//! Where the store of one download lies: in the user's state folder, never among the downloaded files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use reef_proto::hash::{InfoHashes, Sha256Hash};

/// The store of the download of one torrent into one folder: `$XDG_STATE_HOME/reef/HASH-FOLDER.redb`, where FOLDER is a
/// digest of the folder's path and `$XDG_STATE_HOME` is `~/.local/state` unless it is set. `None` where there is no home
/// folder either. Makes nothing.
pub fn default_path(hashes: &InfoHashes, folder: &Path) -> Option<PathBuf> {
    path_in(&state_home(|name| std::env::var_os(name))?, hashes, folder)
}

/// The folder in which plugins have folders of their own: `$XDG_STATE_HOME/reef/plugins`. Makes nothing.
pub fn plugin_data_path() -> Option<PathBuf> {
    Some(default_folder()?.join("plugins"))
}

/// Where it is written down why plugins were quarantined: `$XDG_STATE_HOME/reef/quarantine`. `None` where there is no home
/// folder. Makes nothing.
pub fn quarantine_path() -> Option<PathBuf> {
    Some(default_folder()?.join("quarantine"))
}

/// The folder of everything that reef keeps: `$XDG_STATE_HOME/reef`, or `~/.local/state/reef`. `None` where there is no
/// home folder either. Makes nothing.
pub fn default_folder() -> Option<PathBuf> {
    Some(state_home(|name| std::env::var_os(name))?.join("reef"))
}

fn state_home(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // Base Directory Specification: a path that is not absolute is to be ignored.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

fn path_in(state_home: &Path, hashes: &InfoHashes, folder: &Path) -> Option<PathBuf> {
    let folder = resolved(&std::path::absolute(folder).ok()?);
    let mut digest = Sha256Hash::of(folder.as_os_str().as_encoded_bytes()).to_string();
    digest.truncate(16);
    Some(state_home.join("reef").join(format!("{hashes}-{digest}.redb")))
}

/// The folder's one name, as far as it exists: what is not there yet cannot be a link.
fn resolved(folder: &Path) -> PathBuf {
    for existing in folder.ancestors() {
        if let (Ok(real), Ok(rest)) = (existing.canonicalize(), folder.strip_prefix(existing)) {
            // Joining nothing would add a slash.
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    folder.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::hash::Sha1Hash;

    #[test]
    fn the_state_folder_is_the_users() {
        let check = |xdg: &str, home: &str, expected: Option<&str>| {
            let variable = |name: &str| match name {
                "XDG_STATE_HOME" => Some(xdg.into()),
                "HOME" => Some(home.into()),
                _ => None,
            };
            assert_eq!(state_home(variable).as_deref(), expected.map(Path::new));
        };
        check("/state", "/home/a", Some("/state"));
        check("", "/home/a", Some("/home/a/.local/state"));
        check("relative", "/home/a", Some("/home/a/.local/state"));
        check("", "", None);
        assert_eq!(state_home(|_| None), None);
    }

    #[test]
    fn one_download_has_one_store_by_whatever_name_its_folder_goes() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", top.path().join("link")).unwrap();
        let hashes = InfoHashes::from_v1(Sha1Hash::of(b"a"));
        let path =
            |hashes: &InfoHashes, folder: &str| path_in(Path::new("/s"), hashes, &top.path().join(folder)).unwrap();
        assert_eq!(path(&hashes, "real"), path(&hashes, "link"));
        assert_eq!(path(&hashes, "real/new"), path(&hashes, "link/new"));
        assert_eq!(path(&hashes, "real"), path(&hashes, "real/"));
        assert_ne!(path(&hashes, "real"), path(&hashes, "real/new"));
        assert_ne!(path(&hashes, "real"), path(&InfoHashes::from_v1(Sha1Hash::of(b"b")), "real"));
        assert!(path(&hashes, "real").starts_with("/s/reef"));
    }
}
