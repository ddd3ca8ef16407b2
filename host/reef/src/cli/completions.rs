//! `reef completions` and `reef man`: what shells and `man` want to know, made from the same description as the help.

use std::path::Path;

use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::failure::{Exit, Failure, Outcome};
use super::out;

/// `reef completions SHELL`.
pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "reef", &mut script);
    out::write(&script);
    Ok(Exit::Success)
}

/// `reef man`.
pub(crate) fn man(args: &ManArgs) -> Outcome {
    match &args.dir {
        None => out::write(&page(&Cli::command())?),
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| Failure::io(dir, &error))?;
            let mut command = Cli::command();
            command.build();
            write_pages(dir, &command, "reef")?;
        }
    }
    Ok(Exit::Success)
}

/// Writes `NAME.1` for the command and, below it, for each of its own commands.
fn write_pages(dir: &Path, command: &clap::Command, name: &str) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.1"));
    // clap wants a name that lives as long as the program; there are a dozen, made once.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let bytes = page(&command.clone().name(title))?;
    std::fs::write(&path, bytes).map_err(|error| Failure::io(&path, &error))?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_pages(dir, sub, &format!("{name}-{}", sub.get_name()))?;
    }
    Ok(())
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| Failure::new(format!("the manual page could not be made: {error}")))?;
    Ok(page)
}
