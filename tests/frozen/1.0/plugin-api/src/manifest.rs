//! What a host can know of a plugin file without loading it: 256 bytes that lie in it, found by their first sixteen.
//!
//! Reading it runs no code of the plugin. The static is aligned to 64 bytes, in memory and so in the file (sections keep their
//! place within a page), which makes the search one comparison in 64 bytes.

use crate::session::SessionPlugin;

/// What a plugin file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// First number of the interface that it was built against.
    pub api_major: u32,
    /// Second number of that interface.
    pub api_minor: u32,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, may be empty.
    pub description: String,
    /// The session hooks that it implements, bits of [`bits::SessionPlugin`](crate::bits::SessionPlugin).
    pub session_hooks: u64,
}

impl Manifest {
    /// Finds the manifest in a plugin file's bytes. `None`: not a plugin of this kind.
    pub fn find(file: &[u8]) -> Option<Self> {
        let mut rest = file;
        while let Some(block) = rest.get(..SIZE) {
            if block.starts_with(MAGIC)
                && let Some(manifest) = Self::parse(block)
            {
                return Some(manifest);
            }
            rest = &rest[ALIGN..];
        }
        None
    }

    fn parse(block: &[u8]) -> Option<Self> {
        let name = text(block.get(NAME..VERSION)?)?;
        if !is_name(name.as_bytes()) {
            return None;
        }
        Some(Self {
            api_major: u32::from_le_bytes(block.get(16..20)?.try_into().ok()?),
            api_minor: u32::from_le_bytes(block.get(20..24)?.try_into().ok()?),
            name,
            version: text(block.get(VERSION..DESCRIPTION)?)?,
            description: text(block.get(DESCRIPTION..SIZE)?)?,
            session_hooks: u64::from_le_bytes(block.get(24..NAME)?.try_into().ok()?),
        })
    }
}

/// The manifest as it lies in the file.
#[doc(hidden)]
#[repr(C, align(64))]
pub struct RawManifest([u8; SIZE]);

impl RawManifest {
    /// The manifest of this plugin, made while it is compiled.
    pub const fn of<S: SessionPlugin>(version: &str, description: &str) -> Self {
        assert!(S::NAME.len() <= VERSION - NAME, "a plugin's name has at most 64 bytes");
        assert!(is_name(S::NAME.as_bytes()), "a plugin's name is of lower case letters, digits, `_` and `-`");
        assert!(version.len() <= DESCRIPTION - VERSION, "a plugin's version has at most 32 bytes");
        let block = put([0; SIZE], 0, MAGIC, MAGIC.len());
        let block = put(block, 16, &crate::API_MAJOR.to_le_bytes(), 4);
        let block = put(block, 20, &crate::API_MINOR.to_le_bytes(), 4);
        let block = put(block, 24, &S::HOOKS.to_le_bytes(), 8);
        let block = put(block, NAME, S::NAME.as_bytes(), S::NAME.len());
        let block = put(block, VERSION, version.as_bytes(), version.len());
        Self(put(block, DESCRIPTION, description.as_bytes(), whole_characters(description, SIZE - DESCRIPTION)))
    }
}

const SIZE: usize = 256;
const ALIGN: usize = 64;
const NAME: usize = 32;
const VERSION: usize = NAME + 64;
const DESCRIPTION: usize = VERSION + 32;
const MAGIC: &[u8; 16] = b"\x7freef-plugin-v1\n";

const fn put(mut block: [u8; SIZE], at: usize, bytes: &[u8], len: usize) -> [u8; SIZE] {
    let mut i = 0;
    while i < len {
        block[at + i] = bytes[i];
        i += 1;
    }
    block
}

const fn is_name(name: &[u8]) -> bool {
    let mut i = 0;
    while i < name.len() {
        if !matches!(name[i], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') {
            return false;
        }
        i += 1;
    }
    !name.is_empty()
}

/// How many bytes of `text` fit into `room` without cutting a character.
const fn whole_characters(text: &str, room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let mut len = room;
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    len
}

fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    std::str::from_utf8(field.get(..end)?).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HookResult, Host, PluginError, SessionCx, Settings};

    struct Named;
    #[crate::hooks]
    impl SessionPlugin for Named {
        const NAME: &'static str = "named_one";
        fn create(_: Host, _: &Settings) -> Result<Self, PluginError> {
            Ok(Self)
        }
        fn on_tick(&mut self, _: &mut SessionCx<'_>) -> HookResult {
            Ok(crate::Flow::Pass)
        }
    }

    fn check(description: &str, expected: &str) {
        let raw = RawManifest::of::<Named>("1.2.3-beta", description);
        // A file: the bare magic first, as this crate's own constant may lie in it.
        let mut file = vec![0u8; 128];
        file[64..80].copy_from_slice(MAGIC);
        file.extend(raw.0);
        file.extend([1; 77]);
        let found = Manifest::find(&file).expect("a manifest");
        assert_eq!((found.name.as_str(), found.version.as_str()), ("named_one", "1.2.3-beta"));
        assert_eq!((found.api_major, found.api_minor), (crate::API_MAJOR, crate::API_MINOR));
        assert_eq!(found.session_hooks, crate::bits::SessionPlugin::on_tick);
        assert_eq!(found.description, expected);
    }

    #[test]
    fn what_was_put_in_is_found() {
        check("", "");
        check("does a thing", "does a thing");
        check(&"ü".repeat(200), &"ü".repeat(64));
        check(&format!("x{}", "ü".repeat(200)), &format!("x{}", "ü".repeat(63)));
    }

    #[test]
    fn other_files_have_none() {
        assert_eq!(Manifest::find(b""), None);
        assert_eq!(Manifest::find(&[0; 1000]), None);
        assert_eq!(Manifest::find(&[MAGIC.as_slice(), &[0xff; 300]].concat()), None);
        let raw = RawManifest::of::<Named>("1", "");
        assert_eq!(Manifest::find(&raw.0[..255]), None);
    }
}
