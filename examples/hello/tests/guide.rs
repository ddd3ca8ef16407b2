//! The guide for authors quotes this plugin. What it quotes must be what is there.

use hello::Hello;
use reef_plugin_api::testing::FakeHost;
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

#[test]
fn the_settings_that_the_guide_shows_are_good_ones() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plugin-guide.md");
    let guide = std::fs::read_to_string(path).expect("a file of the repository");
    let shown: Vec<&str> = guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!shown.is_empty(), "the guide shows settings");
    for text in shown {
        let all: toml::Table = text.parse().expect("TOML");
        let mut table = all["plugins"]["hello"].as_table().expect("the table of this plugin").clone();
        // This key is the host's, and never reaches a plugin.
        table.remove("isolation");
        assert!(FakeHost::new().start::<Hello>(&table.to_string()).is_ok(), "{text}");
    }
}
