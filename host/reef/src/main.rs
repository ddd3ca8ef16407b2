//! The `reef` command.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use reef_plugin_host::{PLUGIN_PROCESS, run_plugin_process};

use cli::args::{Cli, Command};
use cli::failure::{Exit, Outcome};
use cli::{check, completions, create, demo, get, log, out, plugin, run, seed, settings, show, signals};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == PLUGIN_PROCESS) {
        return run_plugin_process();
    }
    let outcome = match Cli::try_parse() {
        Ok(cli) => dispatch(cli),
        Err(message) => Ok(say(&message)),
    };
    let exit = outcome.and_then(|exit| out::finish().map(|()| exit)).unwrap_or_else(|failure| {
        out::error_line(&format!("reef: {failure}"));
        failure.exit
    });
    ExitCode::from(exit.code())
}

fn dispatch(cli: Cli) -> Outcome {
    log::start(&cli.global);
    if let Err(error) = signals::install() {
        ::log::warn!("signals cannot be caught, so an interrupt stops at once: {error}");
    }
    match cli.command {
        Command::Get(args) => get::run(&args, &cli.global),
        Command::Seed(args) => seed::run(&args, &cli.global),
        Command::Run(args) => run::run(&args, &cli.global),
        Command::Create(args) => create::run(&args, &cli.global),
        Command::Show(args) => show::run(&args),
        Command::Check(args) => check::run(&args, &cli.global),
        Command::Plugin(args) => plugin::run(&args, &cli.global),
        Command::Demo(args) => demo::run(&args, &cli.global),
        Command::Settings(args) => settings::run(&args, &cli.global),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn say(message: &clap::Error) -> Exit {
    // Whoever closed the other end does not want to read it.
    let _ = message.print();
    match message.exit_code() {
        0 => Exit::Success,
        _ => Exit::Usage,
    }
}
