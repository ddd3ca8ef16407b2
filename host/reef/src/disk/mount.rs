//! Whether what was written and not synced is still there: it is as long as the machine and the mount are the same.

use std::path::Path;
use std::sync::OnceLock;

use reef_engine::disk::MountId;
use rustix::fs::{AtFlags, CWD, StatxFlags};

/// The mount that a path is on. `None` where the system does not tell, so that nothing can rely on it.
pub(super) fn mount_of(path: &Path) -> Option<MountId> {
    let mut id = [0; 24];
    id[..16].copy_from_slice(&boot()?);
    let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), UNIQUE_MOUNT_ID).ok()?;
    let told = StatxFlags::from_bits_retain(stat.stx_mask);
    id[16..].copy_from_slice(&stat.stx_mnt_id.to_be_bytes());
    told.contains(UNIQUE_MOUNT_ID).then_some(MountId(id))
}

/// What this run of the machine is called.
fn boot() -> Option<[u8; 16]> {
    static BOOT: OnceLock<Option<[u8; 16]>> = OnceLock::new();
    *BOOT.get_or_init(|| parse_uuid(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?))
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32).map(u128::to_be_bytes)
}

/// Asks for an id that no other mount gets before the machine stops (Linux 6.8). Older systems use one again as soon as it is
/// free, so nothing follows from it.
const UNIQUE_MOUNT_ID: StatxFlags = StatxFlags::from_bits_retain(0x4000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_the_same_for_all_its_paths_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let mount = mount_of(folder.path());
        assert_eq!(mount_of(&folder.path().join("file")), mount);
        // Systems that do not tell have no name for either.
        assert!(mount.is_none() || mount_of(Path::new("/proc")) != mount);
        assert_eq!(mount_of(&folder.path().join("missing")), None);
    }

    #[test]
    fn what_is_no_uuid_names_no_run() {
        assert_eq!(parse_uuid("00000000-0000-0000-0000-0000000000ff\n").map(|id| id[15]), Some(255));
        for text in ["", "12", "00000000-0000-0000-0000-0000000000zz", "000000000-0000-0000-0000-0000000000ff"] {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }
}
