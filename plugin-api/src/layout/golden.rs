//! The page that was checked in, `tests/layout.txt`, and the rule that it only grows.

use super::{Section, sections};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Set to 1, the test writes an addition down instead of failing for it.
const BLESS: &str = "REEF_BLESS";

const HEAD: &str = "# The binary layout of reef-plugin-api, written by its tests. Lines may be added, by the rules of docs/plugin-abi.md; none \
                    may be changed, moved or removed.\n";

fn page(sections: &[Section]) -> String {
    let mut page = HEAD.to_owned();
    for section in sections {
        page += &format!("\n{}\n", section.title);
        section.rows.iter().for_each(|row| page += &format!("  {row}\n"));
    }
    page
}

fn parse(page: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), sections.last_mut()) {
            (Some(row), Some(section)) => section.rows.push(row.to_owned()),
            _ => sections.push(Section::new(line, [])),
        }
    }
    sections
}

/// Tables, records, masks and numbers get rows at their end; whatever else crosses, crosses by value.
fn may_grow(title: &str) -> bool {
    ["table ", "record ", "mask ", "numbers "].iter().any(|kind| title.starts_with(kind))
}

/// What of `before` is no more as it was; nothing where all that `now` has more is at the end of what may grow.
fn breaks(before: &[Section], now: &[Section]) -> Vec<String> {
    let mut broken = Vec::new();
    for old in before {
        let Some(new) = now.iter().find(|section| section.title == old.title) else {
            broken.push(format!("{}: is gone, or has another size", old.title));
            continue;
        };
        for (index, row) in old.rows.iter().enumerate() {
            match new.rows.get(index) {
                Some(same) if same == row => (),
                Some(other) => broken.push(format!("{}: `{row}` became `{other}`", old.title)),
                None => broken.push(format!("{}: `{row}` is gone", old.title)),
            }
        }
        if new.rows.len() > old.rows.len() && !may_grow(&old.title) {
            broken.push(format!("{}: crosses by value and has got a field", old.title));
        }
    }
    broken
}

/// Compares the layout with the page at `path`; an addition is written down if `bless` says so.
fn check(path: &Path, now: &[Section], bless: bool) -> Result<(), String> {
    let written = fs::read_to_string(path).unwrap_or_default();
    let broken = breaks(&parse(&written), now);
    if !broken.is_empty() {
        return Err(format!(
            "this would break plugins that are built already:\n{}\nWhat is there stays as it is. Put the new form into a new row \
             (docs/plugin-abi.md, \"How it grows\").",
            broken.join("\n")
        ));
    }
    let page = page(now);
    if page == written {
        return Ok(());
    }
    if !bless {
        return Err(format!(
            "the interface has grown: nothing that was there has changed. If that is meant, run\n    {BLESS}=1 cargo test -p \
             reef-plugin-api layout\nand check in {}.",
            path.display()
        ));
    }
    fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout.txt")
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_layout_is_the_one_that_was_written_down() {
    let bless = env::var_os(BLESS).is_some_and(|value| value == "1");
    if let Err(why) = check(&golden(), &sections(), bless) {
        panic!("{why}");
    }
}

/// What a release had is there for good, whatever was written into the page since.
#[test]
#[cfg(target_pointer_width = "64")]
fn the_layout_of_every_frozen_interface_is_still_there() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/frozen");
    // A copy of this crate, frozen or in an author's crate, has no others beside it.
    let Ok(versions) = fs::read_dir(&frozen) else { return };
    let mut pages = 0;
    for page in versions.map(|entry| entry.expect("an entry").path().join("plugin-api/tests/layout.txt")) {
        let Ok(released) = fs::read_to_string(&page) else { continue };
        let broken = breaks(&parse(&released), &sections());
        assert!(broken.is_empty(), "{} is out and has plugins:\n{}", page.display(), broken.join("\n"));
        pages += 1;
    }
    assert!(pages > 0, "{} has no frozen interface", frozen.display());
}

/// A change of the layout as it was written down, and what is said of it, blessed or not.
#[track_caller]
fn check_refused(change: impl FnOnce(&mut Vec<Section>), said: &str) {
    let folder = tempfile();
    let path = folder.join("layout.txt");
    let before = sections();
    fs::write(&path, page(&before)).expect("ours");
    let mut now = before.clone();
    change(&mut now);
    for bless in [false, true] {
        let refused = check(&path, &now, bless).expect_err(said);
        assert!(refused.starts_with("this would break plugins") && refused.contains(said), "{refused}");
    }
    assert_eq!(fs::read_to_string(&path).ok(), Some(page(&before)), "nothing was written");
    fs::remove_dir_all(folder).expect("ours");
}

/// A folder of this test's own.
fn tempfile() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("reef-layout-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = env::temp_dir().join(name);
    fs::create_dir(&folder).expect("it can be made");
    folder
}

fn section<'a>(sections: &'a mut [Section], start: &str) -> &'a mut Section {
    sections.iter_mut().find(|section| section.title.starts_with(start)).expect("there is one")
}

#[test]
fn what_is_there_may_not_change_whoever_blesses_it() {
    check_refused(
        |all| section(all, "table PeerVt ").rows[3] = "3 on_handshake fn()".to_owned(),
        "became `3 on_handshake fn()`",
    );
    check_refused(|all| section(all, "table HostTable ").rows.swap(4, 5), "became");
    check_refused(|all| drop(section(all, "table SessionVt ").rows.pop()), "is gone");
    check_refused(|all| drop(section(all, "table TorrentVt ").rows.remove(2)), "became");
    check_refused(|all| section(all, "table PluginRoot ").rows.insert(0, "0 x".to_owned()), "became `0 x`");
    check_refused(|all| section(all, "record PeerInfo").rows.swap(0, 1), "became");
    check_refused(|all| section(all, "mask of PeerPlugin").rows[0] += "_", "became");
    check_refused(|all| section(all, "numbers of a host").rows[1] = "HostRet(-9) Gone".to_owned(), "became");
    check_refused(|all| section(all, "struct RawCx ").rows.push("32 more: u64".to_owned()), "crosses by value");
    check_refused(|all| section(all, "struct Buffer ").title += "0", "is gone, or has another size");
    check_refused(|all| all.retain(|section| !section.title.starts_with("record BlockSender")), "is gone");
}

#[test]
fn an_addition_is_written_down_when_it_is_blessed_and_not_before() {
    let folder = tempfile();
    let path = folder.join("layout.txt");
    check(&path, &sections(), true).expect("a first page");
    let mut now = sections();
    section(&mut now, "table PeerVt ").rows.push("48 on_more fn()".to_owned());
    section(&mut now, "record PeerInfo").rows.push("88 more: u64".to_owned());
    now.push(Section::new("record RawMore", ["0 more: u64".to_owned()]));
    let refused = check(&path, &now, false).expect_err("nobody blessed it");
    assert!(refused.contains("REEF_BLESS=1 cargo test"), "{refused}");
    check(&path, &now, true).expect("it only grows");
    check(&path, &now, false).expect("it is written down");
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn every_record_is_on_the_page() {
    let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("the sources");
    let mut count = 0;
    for source in sources.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
        let text = fs::read_to_string(&source).expect("a text");
        // Those of tests are within a module of their own, and so further in.
        for name in text.lines().filter_map(|line| line.strip_prefix("impl Record for ")) {
            let title = format!("record {}", name.trim_end_matches(" {"));
            assert!(sections().iter().any(|section| section.title == title), "{title} is not in layout/mod.rs");
            count += 1;
        }
    }
    assert!(count >= 4, "the records were not found");
}
