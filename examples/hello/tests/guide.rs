//! The guide for authors quotes this plugin. What it quotes must be what is there.

use std::path::Path;

#[test]
fn the_guide_quotes_what_is_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(here.join(path)).expect("a file of the repository");
    let guide = read("../../docs/plugin-guide.md");
    let sources = [read("src/lib.rs"), read("tests/hello.rs")];
    let quotes: Vec<&str> = guide.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(quotes.len() > 5, "the guide shows the plugin");
    for quote in quotes {
        assert!(sources.iter().any(|source| source.contains(quote)), "not in examples/hello any more:\n{quote}");
    }
}
