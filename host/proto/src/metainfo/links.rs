//! Symbolic links of a torrent (BEP 47): each leads to something in the same torrent, or to itself, which is nowhere.
//!
//! A target is meant from the torrent's folder; older files mean it from the link's own folder, which is tried second.
//! It may lead through other links. The cleaned path cannot leave the folder, whatever it says.

use std::collections::BTreeMap;

use crate::layout::FileEntry;

/// Settles the target of every link in `files`, whose paths begin with `root` elements that are the torrent's folder.
pub(super) fn settle(files: &mut [FileEntry], root: usize) {
    if files.iter().all(|file| file.symlink.is_none()) {
        return;
    }
    let places = Places::of(files);
    let mut links: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for file in files.iter_mut() {
        let Some(target) = &mut file.symlink else { continue };
        if !places.contains(target) {
            let from_link = from_own_folder(&file.path, target.get(root..).unwrap_or_default());
            if places.contains(&from_link) {
                *target = from_link;
            }
        }
        links.insert(file.path.clone(), target.clone());
    }
    for file in files {
        let Some(target) = &mut file.symlink else { continue };
        if target.len() <= root || !places.contains(&follow(target, &links)) {
            target.clone_from(&file.path);
        }
    }
}

/// `target` as seen from the folder in which the file at `path` lies.
fn from_own_folder(path: &[String], target: &[String]) -> Vec<String> {
    let folder = path.split_last().map_or(&[][..], |(_, folder)| folder);
    [folder, target].concat()
}

/// The path that `target` leads to once the links on its way are followed.
fn follow(target: &[String], links: &BTreeMap<Vec<String>, Vec<String>>) -> Vec<String> {
    let mut path = target.to_vec();
    for _ in 0..MAX_LINKS {
        let step = (1..path.len()).find_map(|end| {
            let (folder, rest) = path.split_at_checked(end)?;
            Some([links.get(folder)?, rest].concat())
        });
        match step {
            Some(next) if next.len() <= crate::paths::MAX_DEPTH => path = next,
            _ => break,
        }
    }
    path
}

/// All files and folders of a torrent, as a tree.
#[derive(Default)]
struct Places {
    /// (folder, name) -> the id of what is there. The save folder is 0.
    entries: BTreeMap<(u32, String), u32>,
    ids: u32,
}

impl Places {
    fn of(files: &[FileEntry]) -> Self {
        let mut places = Self::default();
        for file in files.iter().filter(|file| !file.pad) {
            let mut at = 0;
            for element in &file.path {
                let fresh = places.ids.saturating_add(1);
                at = *places.entries.entry((at, element.clone())).or_insert(fresh);
                places.ids = places.ids.max(at);
            }
        }
        places
    }

    fn contains(&self, path: &[String]) -> bool {
        let found = path.iter().try_fold(0, |at, element| self.entries.get(&(at, element.clone())).copied());
        found.is_some_and(|id| id != 0)
    }
}

/// How many links a target may lead through.
const MAX_LINKS: usize = 32;
