//! A plugin's library in memory: mapped once per content in a process, and never unmapped.
//!
//! Everything that can be known without running foreign code is checked on the file's bytes first; only what passed is
//! mapped, from a private copy. Unmapping is impossible: threads, thread-local destructors and vtables of the plugin
//! point into it.

use crate::elf::check_elf;
use crate::error::{LoadError, MAX_FILE, Problem};
use crate::private_copy::with_private_copy;
use crate::trust::{Access, this_user};
use reef_plugin_api::manifest::Manifest;
use reef_plugin_api::{API_MAJOR, host};
use reef_proto::hash::Sha256Hash;
use std::collections::HashMap;
use std::ffi::c_void;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
#[cfg(unix)]
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a plugin file says of itself. Reading it runs no code of the plugin.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FileInfo {
    /// The file.
    pub path: PathBuf,
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, may be empty.
    pub description: String,
    /// The interface that it was built against: first and second number.
    pub api: (u32, u32),
}

/// Reads what a plugin file says of itself. Nothing of it is mapped or run.
///
/// # Errors
/// Everything but `Copy`, `Open`, `Interface`, `Init` and `Duplicate` of [`Problem`].
pub fn inspect(path: &Path) -> Result<FileInfo, LoadError> {
    let file = PluginFile::read(path).map_err(|problem| LoadError::new(path, problem))?;
    Ok(file.info(path))
}

/// Checks a plugin file as loading it would, its binary interface included, but starts no instance of it. Mapping runs
/// what the library runs when it is mapped.
///
/// # Errors
/// Everything but `Init` and `Duplicate` of [`Problem`].
pub fn check(path: &Path) -> Result<FileInfo, LoadError> {
    let file = PluginFile::read(path).map_err(|problem| LoadError::new(path, problem))?;
    file.image(None).map_err(|problem| LoadError::new(path, problem))?;
    Ok(file.info(path))
}

/// A mapped library.
pub(crate) struct Image {
    /// What it says of itself.
    pub(crate) manifest: Manifest,
    /// Its functions.
    pub(crate) root: host::Root,
}

/// A plugin file that may be mapped.
pub(crate) struct PluginFile {
    pub(crate) manifest: Manifest,
    content: Content,
    stamp: Option<Stamp>,
}

enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// The image that was made of it before, and since then it has not changed.
    Mapped(&'static Image),
}

impl PluginFile {
    /// Reads the file once and checks what can be checked without mapping it.
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let (mut file, metadata) = open_trusted(path)?;
        let stamp = Stamp::of(&metadata);
        if let Some(image) = stamp.and_then(|stamp| mapped().by_stamp.get(&stamp).copied()) {
            return Ok(Self { manifest: image.manifest.clone(), content: Content::Mapped(image), stamp });
        }
        let mut bytes = Vec::new();
        file.by_ref().take(MAX_FILE).read_to_end(&mut bytes).map_err(Problem::Read)?;
        check_elf(&bytes)?;
        let manifest = Manifest::find(&bytes).ok_or(Problem::NoManifest)?;
        if manifest.api_major != API_MAJOR {
            let built = (manifest.api_major, manifest.api_minor);
            return Err(Problem::ApiMajor { name: manifest.name, version: manifest.version, built, host: API_MAJOR });
        }
        Ok(Self { manifest, content: Content::Bytes(bytes), stamp })
    }

    pub(crate) fn info(&self, path: &Path) -> FileInfo {
        let Manifest { api_major, api_minor, name, version, description, .. } = self.manifest.clone();
        FileInfo { path: path.to_owned(), name, version, description, api: (api_major, api_minor) }
    }

    /// The image of this content: the one that is mapped already, or a new one.
    pub(crate) fn image(&self, cache: Option<&Path>) -> Result<&'static Image, Problem> {
        let bytes = match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Mapped(image) => return Ok(image),
        };
        let hash = Sha256Hash::of(bytes);
        let mut mapped = mapped();
        let image = match mapped.by_content.get(&hash) {
            Some(image) => *image,
            None => {
                let stem = format!("{}-{}", self.manifest.name, safe_name(&self.manifest.version));
                let library = with_private_copy(cache, &stem, bytes, map)?;
                let root = check_interface(library, &self.manifest)?;
                &*Box::leak(Box::new(Image { manifest: self.manifest.clone(), root }))
            }
        };
        mapped.by_content.insert(hash, image);
        if let Some(stamp) = self.stamp {
            mapped.by_stamp.insert(stamp, image);
        }
        Ok(image)
    }
}

/// Every image of the process.
#[derive(Default)]
struct Mapped {
    by_content: HashMap<Sha256Hash, &'static Image>,
    by_stamp: HashMap<Stamp, &'static Image>,
}

fn mapped() -> MutexGuard<'static, Mapped> {
    static MAPPED: LazyLock<Mutex<Mapped>> = LazyLock::new(Mutex::default);
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What tells one state of a file from every other: device, number, size, and the times of its last changes. Fifty
/// sessions in one process so read a plugin once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Stamp([i128; 5]);

impl Stamp {
    /// `None` where that is not known for sure: within a second of a change the next one might have the same time.
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let changed = UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(metadata.ctime()).ok()?))?;
        if SystemTime::now().duration_since(changed).ok()? < Duration::from_secs(2) {
            return None;
        }
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some(Self([
            i128::from(metadata.dev()),
            i128::from(metadata.ino()),
            i128::from(metadata.size()),
            time(metadata.mtime(), metadata.mtime_nsec()),
            time(metadata.ctime(), metadata.ctime_nsec()),
        ]))
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

/// A version as part of a file's name.
fn safe_name(version: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    version.chars().map(|c| if safe(c) { c } else { '_' }).collect()
}

/// Opens a file that nobody else could have written.
fn open_trusted(path: &Path) -> Result<(File, Metadata), Problem> {
    let problem = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::NoFile,
        _ => Problem::Read(error),
    };
    // Links are followed first: what they point to, and where that lies, is what must be trusted.
    let path = path.canonicalize().map_err(problem)?;
    // Opening a pipe would wait for its other end.
    check_kind(&fs::metadata(&path).map_err(problem)?)?;
    let file = File::open(&path).map_err(problem)?;
    let metadata = file.metadata().map_err(problem)?;
    check_kind(&metadata)?;
    let user = this_user();
    Access::of(&metadata).check(user, &path)?;
    if let Some(folder) = path.parent() {
        Access::of(&fs::metadata(folder).map_err(problem)?).check(user, folder)?;
    }
    Ok((file, metadata))
}

fn check_kind(metadata: &Metadata) -> Result<(), Problem> {
    match metadata.len() {
        _ if !metadata.is_file() => Err(Problem::NotAFile),
        size if size > MAX_FILE => Err(Problem::TooLarge { size }),
        _ => Ok(()),
    }
}

#[cfg(unix)]
type Library = libloading::os::unix::Library;
#[cfg(not(unix))]
type Library = libloading::Library;

/// Maps a library for the rest of the process's life. Symbols that are missing are an error here, not at the first call.
#[cfg(unix)]
fn map(path: &Path) -> Result<&'static Library, String> {
    use libloading::os::unix::{RTLD_LOCAL, RTLD_NOW};
    // SAFETY: a whole library of a trusted file, which says that it is a plugin; the user chose to run it.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    library.map(|library| &*Box::leak(Box::new(library))).map_err(|error| error.to_string())
}

/// Maps a library for the rest of the process's life.
#[cfg(not(unix))]
fn map(path: &Path) -> Result<&'static Library, String> {
    // SAFETY: a file that says that it is a plugin; the user chose to run it.
    let library = unsafe { Library::new(path) };
    library.map(|library| &*Box::leak(Box::new(library))).map_err(|error| error.to_string())
}

/// Finds the plugin's functions and compares their layout with ours.
fn check_interface(library: &'static Library, manifest: &Manifest) -> Result<host::Root, Problem> {
    // SAFETY: used as an address alone.
    let symbol = unsafe { library.get::<*const c_void>(host::SYMBOL) };
    // One that exports none is told so in the words of the interface.
    let address = symbol.map_or(std::ptr::null(), |symbol| *symbol);
    // SAFETY: this symbol's address in a library that stays mapped, and the manifest of its bytes.
    Ok(unsafe { host::Root::open(address, manifest) }?)
}
