//! Writes manual pages and shell completions of the shipped programs: `manual DIRECTORY`, as a `share` folder.
//!
//! A program of its own, so that `cargo xtask` is not built anew after every change of a shipped one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, Parser};
use clap_complete::{Shell, generate_to};

/// The shells, and where each looks below `share`.
const SHELLS: &[(Shell, &str)] = &[
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

#[derive(Debug, Parser)]
struct Arguments {
    directory: PathBuf,
}

fn main() -> io::Result<()> {
    write(&Arguments::parse().directory)
}

/// A page for each program and each of its subcommands, and a completion for each program and shell.
fn write(share: &Path) -> io::Result<()> {
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    for command in commands() {
        let name = command.get_name().to_owned();
        for (shell, folder) in SHELLS {
            let folder = share.join(folder);
            fs::create_dir_all(&folder)?;
            generate_to(*shell, &mut command.clone(), &name, folder)?;
        }
        clap_mangen::generate_to(command.disable_help_subcommand(true), &pages)?;
    }
    Ok(())
}

fn commands() -> [Command; 5] {
    [
        gitlab_meta_runner::command(),
        meta_configure::command(),
        meta_executor::command(),
        meta_launcher::command(),
        meta_register::command(),
    ]
}

#[cfg(test)]
mod tests {
    use super::{commands, write};
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_program_and_subcommand_has_its_page() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let expected = commands().into_iter().flat_map(|command| {
            let name = command.get_name().to_owned();
            let below = command.get_subcommands().map(|sub| format!("{name}-{}.1", sub.get_name()));
            below.chain([format!("{name}.1")]).collect::<Vec<_>>()
        });
        let pages = directory.path().join("man/man1");
        assert_eq!(names(&pages), expected.collect());
        let page = fs::read_to_string(pages.join("meta-register.1")).unwrap();
        assert!(page.contains("META_RUNNER_CONFIG_FILE") && page.contains("dry\\-run"), "{page}");
    }

    #[test]
    fn every_program_has_completions() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path()).unwrap();
        let programs = || commands().map(|command| command.get_name().to_owned());
        let share = |folder: &str| names(&directory.path().join(folder));
        assert_eq!(
            share("bash-completion/completions"),
            programs().map(|name| format!("{name}.bash")).into()
        );
        assert_eq!(share("zsh/site-functions"), programs().map(|name| format!("_{name}")).into());
        assert_eq!(share("fish/vendor_completions.d"), programs().map(|name| format!("{name}.fish")).into());
    }
}
