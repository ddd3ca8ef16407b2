//! What can be typed: every command and option, with its help and an example each.
//!
//! This is the one place that knows clap. It reads and checks the form of what was typed (an address, a size, a list
//! of files) and touches neither files nor the network.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

use super::forms::{parse_piece_length, parse_tracker, parse_web_url};

/// A BitTorrent client that hosts plugins.
#[derive(Parser, Debug)]
#[command(
    name = "reef",
    version,
    about = "A BitTorrent client that hosts plugins",
    long_about = "reef downloads and serves torrents. What goes beyond the core of the protocol (fetching metadata for \
                  magnet links, exchanging peers, banning liars) is done by plugins: libraries that are loaded from a \
                  folder, and that anybody can write.",
    after_help = EXAMPLES,
    after_long_help = LONG_NOTES,
    arg_required_else_help = true,
    subcommand_required = true,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  reef show ubuntu.torrent                    what a torrent file says
  reef create photos/ -o photos.torrent       make a torrent file

Each command has more: reef create --help";

const LONG_NOTES: &str = "\
Examples:
  reef show ubuntu.torrent                    what a torrent file says
  reef create photos/ -o photos.torrent       make a torrent file

Each command has more: reef create --help

Settings are read from reef.toml in $XDG_CONFIG_HOME/reef, or else in ~/.config/reef; `reef settings` lists them all.

Exit status: 0 all is well; 1 it failed, or something is missing; 2 the command line is wrong; 130 interrupted.";

/// Options that every command takes.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Say more on standard error; twice for every detail (RUST_LOG is obeyed too)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Say nothing but errors and what was asked for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Read settings from this file, not from ~/.config/reef/reef.toml
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a torrent file
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Show what a torrent file or a magnet link says
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Hash the files that are there and say which are damaged
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// List every setting with its value and meaning
    #[command(after_help = SETTINGS_EXAMPLES)]
    Settings(SettingsArgs),
    /// Print a script that lets your shell complete reef's commands
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write one a command into a folder
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  reef create photos/ -o photos.torrent
  reef create film.mkv -o film.torrent --tracker https://tracker.example/announce --comment 'holidays'";

const SHOW_EXAMPLES: &str = "\
Examples:
  reef show debian.torrent
  reef show --json 'magnet:?xt=urn:btih:…'";

const CHECK_EXAMPLES: &str = "\
Examples:
  reef check debian.torrent ~/Downloads

DIR is the folder that holds the torrent's file or folder. The exit status is 0 only when all is there.";

const SETTINGS_EXAMPLES: &str = "\
Examples:
  reef settings
  reef settings --json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  reef completions bash > ~/.local/share/bash-completion/completions/reef
  reef completions zsh > ~/.zfunc/_reef
  reef completions fish > ~/.config/fish/completions/reef.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  reef man | man -l -
  reef man --dir ~/.local/share/man/man1";

/// `reef create`.
#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// The file or folder to share
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Write the torrent file here (default: the name of PATH with .torrent, in the current folder)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// A tracker's announce URL; each further one is a tier of its own, tried when those before it fail
    #[arg(long, value_name = "URL", value_parser = parse_tracker)]
    pub(crate) tracker: Vec<String>,
    /// A web server that has the content too (BEP 19); may be given several times
    #[arg(long, value_name = "URL", value_parser = parse_web_url)]
    pub(crate) web_seed: Vec<String>,
    /// The length of a piece, a power of two from 16KiB on: 262144, 1MiB (default: chosen by size)
    #[arg(long, value_name = "SIZE", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u32>,
    /// Peers come from the trackers alone (BEP 27)
    #[arg(long)]
    pub(crate) private: bool,
    /// A comment to put into the file
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Print a JSON object about the new torrent
    #[arg(long)]
    pub(crate) json: bool,
}

/// `reef show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// A .torrent file, a magnet link, an info-hash, or the http(s) URL of a .torrent file
    #[arg(value_name = "TORRENT|MAGNET", value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `reef check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The .torrent file
    #[arg(value_name = "TORRENT", value_hint = ValueHint::FilePath)]
    pub(crate) torrent: String,
    /// The folder that holds the torrent's file or folder
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `reef settings`.
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    /// Change a setting, to see what comes of it
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print a JSON object a setting, one a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `reef completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `reef man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write one page a command into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_fit_together_and_each_shows_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("reef {}", sub.get_name())), "{} shows no example", sub.get_name());
            for below in sub.get_subcommands() {
                let help = below.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(&format!("reef {} {}", sub.get_name(), below.get_name())));
            }
        }
    }
}
