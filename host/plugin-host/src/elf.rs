//! What the bytes of a shared library must look like before it is mapped.
//!
//! Mapping a truncated file kills the process at the first touch of a missing page, so every table and every segment
//! must lie inside the file. Nothing here runs or maps foreign code.

use thiserror::Error;

/// Why a file is not a shared library for this machine.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ElfError {
    /// It does not begin like an ELF file.
    #[error("not a shared library (no ELF header)")]
    NotElf,
    /// Built for other word sizes or byte orders.
    #[error("built for a machine with another word size or byte order: rebuild it for this one")]
    WrongClass,
    /// Built for another processor.
    #[error("built for another CPU (ELF machine {found}, this host is {wanted}): rebuild it for this one")]
    WrongMachine {
        /// The file's machine number.
        found: u16,
        /// Ours.
        wanted: u16,
    },
    /// A program, an object file or a core dump.
    #[error("an ELF file, but not a shared library")]
    NotShared,
    /// Something that the header names lies beyond the end.
    #[error("truncated file ({what} lies beyond the end): copy it again")]
    Truncated {
        /// What.
        what: &'static str,
    },
}

/// Checks that `file` is a whole shared library for this machine.
///
/// # Errors
/// The first thing that is wrong, in the order of [`ElfError`].
pub(crate) fn check_elf(file: &[u8]) -> Result<(), ElfError> {
    if !file.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    let header = Reader(file);
    let class = header.u8(4).ok_or(NO_HEADER)?;
    let order = header.u8(5).ok_or(NO_HEADER)?;
    if class != CLASS || order != LITTLE_ENDIAN || cfg!(target_endian = "big") {
        return Err(ElfError::WrongClass);
    }
    let found = header.u16(18).ok_or(NO_HEADER)?;
    if let Some(wanted) = MACHINE
        && found != wanted
    {
        return Err(ElfError::WrongMachine { found, wanted });
    }
    if header.u16(16).ok_or(NO_HEADER)? != ET_DYN {
        return Err(ElfError::NotShared);
    }
    if CLASS == CLASS_64 { check_tables(header) } else { Ok(()) }
}

/// The tables and segments of a 64-bit file.
fn check_tables(header: Reader<'_>) -> Result<(), ElfError> {
    let field = |value: Option<u64>| value.ok_or(NO_HEADER);
    let programs = field(header.u64(32))?;
    let program_size = field(header.u16(54).map(u64::from))?;
    let program_count = field(header.u16(56).map(u64::from))?;
    header.span(programs, program_size * program_count).ok_or(NO_PROGRAMS)?;
    for index in 0..program_count {
        // Cannot overflow: the whole table lies inside the file.
        let at = usize::try_from(programs + index * program_size).map_err(|_| NO_PROGRAMS)?;
        let segment = header.u32(at).zip(header.u64(at.saturating_add(8))).zip(header.u64(at.saturating_add(32)));
        let ((kind, offset), size) = segment.ok_or(NO_PROGRAMS)?;
        if kind != PT_NULL {
            header.span(offset, size).ok_or(NO_SEGMENT)?;
        }
    }
    let sections = field(header.u64(40))?;
    let section_size = field(header.u16(58).map(u64::from))?;
    let section_count = field(header.u16(60).map(u64::from))?;
    header.span(sections, section_size * section_count).ok_or(NO_SECTIONS)
}

const NO_HEADER: ElfError = ElfError::Truncated { what: "the header" };
const NO_PROGRAMS: ElfError = ElfError::Truncated { what: "the program header table" };
const NO_SEGMENT: ElfError = ElfError::Truncated { what: "a segment" };
const NO_SECTIONS: ElfError = ElfError::Truncated { what: "the section table" };

const CLASS_64: u8 = 2;
const CLASS: u8 = if cfg!(target_pointer_width = "64") { CLASS_64 } else { 1 };
const LITTLE_ENDIAN: u8 = 1;
const ET_DYN: u16 = 3;
const PT_NULL: u32 = 0;

/// The machine number of this host's processor; `None` where this table does not know it.
const MACHINE: Option<u16> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else if cfg!(target_arch = "riscv64") {
    Some(243)
} else if cfg!(target_arch = "x86") {
    Some(3)
} else if cfg!(target_arch = "arm") {
    Some(40)
} else {
    None
};

#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }
    fn u16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }
    fn u32(self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }
    fn u64(self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }
    /// Something of the file, if it lies inside it.
    fn span(self, offset: u64, size: u64) -> Option<()> {
        let end = offset.checked_add(size)?;
        (end <= u64::try_from(self.0.len()).ok()?).then_some(())
    }
}

#[cfg(all(test, target_pointer_width = "64", target_endian = "little"))]
mod tests {
    use super::*;

    /// A library of one 64-byte segment after its header and a table of one section.
    fn library() -> Vec<u8> {
        let mut file = vec![0; 64 + 56 + 64 + 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&3u16.to_le_bytes());
        file[18..20].copy_from_slice(&MACHINE.unwrap_or(62).to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[40..48].copy_from_slice(&184u64.to_le_bytes());
        for (at, value) in [(54, 56u16), (56, 1), (58, 64), (60, 1)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        file[64..68].copy_from_slice(&1u32.to_le_bytes());
        file[72..80].copy_from_slice(&120u64.to_le_bytes());
        file[96..104].copy_from_slice(&64u64.to_le_bytes());
        file
    }

    fn check(change: impl FnOnce(&mut Vec<u8>), expected: Result<(), ElfError>) {
        let mut file = library();
        change(&mut file);
        assert_eq!(check_elf(&file), expected);
    }

    #[test]
    fn a_whole_library_passes() {
        check(|_| (), Ok(()));
    }

    #[test]
    fn what_is_no_library_is_named() {
        check(Vec::clear, Err(ElfError::NotElf));
        check(|f| f[0] = b'#', Err(ElfError::NotElf));
        check(|f| f[4] = 1, Err(ElfError::WrongClass));
        check(|f| f[5] = 2, Err(ElfError::WrongClass));
        check(|f| f[16] = 2, Err(ElfError::NotShared));
        let wanted = MACHINE.expect("tests run on a known processor");
        check(|f| (f[18], f[19]) = (0xff, 0x7f), Err(ElfError::WrongMachine { found: 0x7fff, wanted }));
    }

    #[test]
    fn every_shorter_file_is_refused() {
        let file = library();
        for len in 0..file.len() {
            assert!(check_elf(&file[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn tables_and_segments_beyond_the_end_are_refused() {
        let huge = u64::MAX.to_le_bytes();
        check(|f| f[32..40].copy_from_slice(&huge), Err(ElfError::Truncated { what: "the program header table" }));
        check(|f| f[40..48].copy_from_slice(&huge), Err(ElfError::Truncated { what: "the section table" }));
        check(|f| f[72..80].copy_from_slice(&huge), Err(ElfError::Truncated { what: "a segment" }));
        check(|f| f[96..104].copy_from_slice(&huge), Err(ElfError::Truncated { what: "a segment" }));
    }
}
