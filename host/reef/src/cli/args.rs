//! What can be typed: every command and option, with its help and an example each.
//!
//! This is the one place that knows clap. It reads and checks the form of what was typed (an address, a size, a list
//! of files) and touches neither files nor the network.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use reef_proto::magnet::FileSelection;

use super::forms::{Listen, parse_listen, parse_peer, parse_piece_length, parse_ratio, parse_tracker, parse_web_url};
use super::text::{parse_duration, parse_size};

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
  reef demo                                   see it work, without a network
  reef get ubuntu.torrent -o ~/Downloads      download what a torrent file names
  reef get 'magnet:?xt=urn:btih:…'            the same from a magnet link
  reef seed ubuntu.torrent ~/Downloads        serve what you have
  reef create photos/ -o photos.torrent       make a torrent file

Each command has more: reef get --help";

const LONG_NOTES: &str = "\
Examples:
  reef demo                                   see it work, without a network
  reef get ubuntu.torrent -o ~/Downloads      download what a torrent file names
  reef get 'magnet:?xt=urn:btih:…'            the same from a magnet link
  reef seed ubuntu.torrent ~/Downloads        serve what you have
  reef create photos/ -o photos.torrent       make a torrent file

Each command has more: reef get --help

Settings are read from reef.toml in $XDG_CONFIG_HOME/reef, or else in ~/.config/reef; `reef settings` lists them all.

Plugins are looked for in the folders given by --plugin-dir, in $REEF_PLUGIN_DIR, in the folders of the setting \
plugin_dir, in `plugins` beside the program, and in `../lib/reef/plugins` from there. Of the program's own folder the \
three standard plugins alone are taken. A plugin is native code with all your rights: install only those you trust.

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
    /// Download torrents
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// Serve a torrent whose files are there
    #[command(after_help = SEED_EXAMPLES)]
    Seed(SeedArgs),
    /// Run a session of many torrents that takes commands as JSON lines
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Make a torrent file
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Show what a torrent file or a magnet link says
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Hash the files that are there and say which are damaged
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// List plugins, look into one, make or test one
    #[command(after_help = PLUGIN_EXAMPLES)]
    Plugin(PluginArgs),
    /// Seed a random file and fetch it by magnet link, both on this machine
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
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

const GET_EXAMPLES: &str = "\
Examples:
  reef get debian.torrent
  reef get 'magnet:?xt=urn:btih:…' -o ~/Downloads
  reef get debian.torrent --select 0,2-5 --sequential
  reef get 0123456789abcdef0123456789abcdef01234567 --peer 192.0.2.7:6881
  reef get a.torrent b.torrent --download-limit 2M --keep-seeding

Run the same command again to go on where it stopped. Ctrl-C stops in order; a second Ctrl-C at once.
The exit status is 0 only when everything that was wanted is verified and written.

With --json each line is an object. `event` says what happened: torrent_added, metadata_received, torrent_finished,
torrent_error, peer_connected, tracker_reply, tracker_error and so on, with a `message` in words; and each second `status`,
with progress (0 to 1), state, download_rate and upload_rate (bytes a second), num_peers and eta (seconds).";

const SEED_EXAMPLES: &str = "\
Examples:
  reef seed photos.torrent ~/Pictures
  reef seed photos.torrent --listen 192.0.2.7:6881 --upload-limit 500k

DIR is the folder that holds the torrent's file or folder. The files are verified first.";

const RUN_EXAMPLES: &str = "\
Examples:
  reef run
  echo '{\"command\":\"add\",\"source\":\"a.torrent\",\"save_path\":\"/srv/a\"}' | reef run --exit-on-eof
  reef run --state /srv/reef --listen 6881 --events

A command is a JSON object on a line of standard input, and its answer one on standard output, in the order of the commands:
  {\"command\":\"add\",\"id\":1,\"source\":\"a.torrent\",\"save_path\":\"/srv/a\",\"seed_mode\":true}
  {\"id\":1,\"ok\":true,\"torrent\":7}
  {\"command\":\"pause\",\"torrent\":7}            also resume, recheck, announce, remove, files, peers
  {\"command\":\"status\"}                       of all torrents, or of one with \"torrent\"
  {\"command\":\"stats\"}                        also set, set_files, add_peer, plugins, subscribe, unsubscribe, stop

The answer to a change is given once the change is on stable storage. docs/run.md describes every command. The end of standard
input changes nothing, unless --exit-on-eof is given; Ctrl-C and the command stop end the session in order.";

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

const PLUGIN_EXAMPLES: &str = "\
Examples:
  reef plugin list
  reef plugin info ut_metadata
  reef plugin new my_plugin
  reef plugin check target/debug/libmy_plugin.so
  reef plugin test target/debug/libmy_plugin.so";

const DEMO_EXAMPLES: &str = "\
Examples:
  reef demo";

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

/// What shapes a session: settings and plugins.
#[derive(Args, Debug, Default)]
pub(crate) struct SessionArgs {
    /// Change a setting for this run (`reef settings` lists them)
    #[arg(long = "set", value_name = "NAME=VALUE", help_heading = "Session")]
    pub(crate) set: Vec<String>,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Session")]
    pub(crate) plugin_dir: Vec<PathBuf>,
    /// Load no plugins at all
    #[arg(long, help_heading = "Session", conflicts_with = "plugin_dir")]
    pub(crate) no_plugins: bool,
    /// Load, replace and take out plugins as their files come, change and go; usual with seed and --keep-seeding
    #[arg(long, help_heading = "Session", conflicts_with = "no_plugins")]
    pub(crate) watch_plugins: bool,
}

/// How torrents are shared: where to listen, and at what speed.
#[derive(Args, Debug, Default)]
pub(crate) struct NetworkArgs {
    /// Listen on this address, port, or both; may be given several times. Port 0 lets the system choose
    #[arg(long, value_name = "ADDR", value_parser = parse_listen, help_heading = "Network")]
    pub(crate) listen: Vec<Listen>,
    /// Connect to this peer (HOST:PORT); may be given several times
    #[arg(long, value_name = "ADDR", value_parser = parse_peer, help_heading = "Network")]
    pub(crate) peer: Vec<String>,
    /// Announce to this tracker too (http, https or udp); may be given several times
    #[arg(long, value_name = "URL", value_parser = parse_tracker, help_heading = "Network")]
    pub(crate) tracker: Vec<String>,
    /// Receive no more than this a second: 500k, 2M, 1.5MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Network")]
    pub(crate) download_limit: Option<u64>,
    /// Send no more than this a second: 500k, 2M, 1.5MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Network")]
    pub(crate) upload_limit: Option<u64>,
}

/// `reef get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// A .torrent file, a magnet link, an info-hash (40 hex or 32 base32 digits), or the http(s) URL of a .torrent file
    #[arg(required = true, value_name = "SOURCE", value_hint = ValueHint::AnyPath)]
    pub(crate) sources: Vec<String>,
    /// Save into this folder
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Download these files only, by their number in `reef show` (from 0): 0,2-5
    #[arg(long, value_name = "FILES")]
    pub(crate) select: Option<FileSelection>,
    /// Fetch pieces in order, so that a film can be watched while it arrives
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Go on seeding until this many times the download was sent
    #[arg(long, value_name = "RATIO", value_parser = parse_ratio, help_heading = "Seeding")]
    pub(crate) seed_ratio: Option<f64>,
    /// Go on seeding for this long: 90s, 30m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Seeding")]
    pub(crate) seed_time: Option<Duration>,
    /// Go on seeding until interrupted
    #[arg(long, help_heading = "Seeding")]
    pub(crate) keep_seeding: bool,
    /// Give up when nothing arrived for this long: 90s, 30m, 2h. Without it reef gives up only when no tracker can name
    /// peers and every peer that was named is out of reach for 30s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print one JSON object a line: events, and a status each second
    #[arg(long)]
    pub(crate) json: bool,
    /// Network options.
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Session options.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `reef seed`.
#[derive(Args, Debug)]
pub(crate) struct SeedArgs {
    /// The .torrent file
    #[arg(value_name = "TORRENT", value_hint = ValueHint::FilePath)]
    pub(crate) torrent: String,
    /// The folder that holds the torrent's file or folder
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Print one JSON object a line: events, and a status each second
    #[arg(long)]
    pub(crate) json: bool,
    /// Network options.
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Session options.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `reef run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Keep the session's state in this folder (default: `run` in $XDG_STATE_HOME/reef, or else in ~/.local/state/reef)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    /// Print events too, as the command subscribe does
    #[arg(long)]
    pub(crate) events: bool,
    /// Stop in order when standard input ends and every command is answered
    #[arg(long)]
    pub(crate) exit_on_eof: bool,
    /// Network options.
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Session options.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

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

/// `reef plugin`.
#[derive(Args, Debug)]
pub(crate) struct PluginArgs {
    /// What to do with plugins.
    #[command(subcommand)]
    pub(crate) command: PluginCommand,
    /// Look for plugins in this folder first; may be given several times
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, global = true)]
    pub(crate) plugin_dir: Vec<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What `reef plugin` does.
#[derive(Subcommand, Debug)]
pub(crate) enum PluginCommand {
    /// List the plugins that are found, and where
    #[command(after_help = "Examples:\n  reef plugin list\n  reef plugin list --plugin-dir ~/plugins --json")]
    List,
    /// Show what a plugin says of itself
    #[command(after_help = "Examples:\n  reef plugin info ut_metadata")]
    Info {
        /// The plugin's name, as in `reef plugin list`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make a crate with a new plugin that builds, loads and is tested
    #[command(after_help = "Examples:\n  reef plugin new my_plugin\n  reef plugin new my_plugin --dir ~/src")]
    New {
        /// The plugin's name: lower case letters, digits, `_` and `-`
        #[arg(value_name = "NAME")]
        name: String,
        /// Make the crate's folder in this one, not here
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Load a plugin file, and say what is in it and what is wrong with it
    #[command(after_help = "Examples:\n  reef plugin check target/release/libmy_plugin.so\n  \
                            reef plugin check --run target/debug/libmy_plugin.so --json")]
    Check {
        /// The library
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Run it in a small simulated swarm too
        #[arg(long)]
        run: bool,
    },
    /// Forget why a plugin was quarantined
    #[command(after_help = "Examples:\n  reef plugin reset my_plugin\n\n\
                            `reef plugin list` says why a plugin was quarantined in the last session that had it. That is forgotten with this \
                            command, and when a session starts with the plugin again: a quarantine lasts as long as its session.")]
    Reset {
        /// The plugin's name, as in `reef plugin list`
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Run a plugin file in a simulated swarm, in virtual time
    #[command(after_help = "Examples:\n  reef plugin test target/debug/libmy_plugin.so\n  \
                            reef plugin test target/debug/libmy_plugin.so --peers 20 --seed 7 --settings 'rate = 3'\n\n\
                            A seed and its downloaders, of which every other one has the plugin, run until all have everything.\n\
                            The exit status is 0 only when they do and the plugin did not panic.")]
    Test(PluginTestArgs),
}

/// `reef plugin test`.
#[derive(Args, Debug)]
pub(crate) struct PluginTestArgs {
    /// The library
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// How many peers download
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) peers: u32,
    /// Simulated seconds until all must have everything
    #[arg(long, value_name = "S", default_value_t = 600)]
    pub(crate) seconds: u64,
    /// What everything in the swarm follows from: the same number gives the same run
    #[arg(long, value_name = "X", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The plugin's settings as TOML; otherwise those of reef.toml
    #[arg(long, value_name = "TOML")]
    pub(crate) settings: Option<String>,
}

/// `reef demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// How large the random file is
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "4MiB")]
    pub(crate) size: u64,
    /// Session options.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `reef settings`.
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    /// Change a setting, to see what comes of it
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print a JSON list
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
