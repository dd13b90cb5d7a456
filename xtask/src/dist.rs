//! `cargo xtask dist`: a tar file with everything that a site installs: programs, documents, manual pages, completions.

use crate::docs;
use crate::failure::{During, Result};
use crate::interrupt::Interrupt;
use crate::process;
use crate::progress::Progress;
use crate::workspace::{PROGRAMS, cargo, repository, target};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Files and folders of the repository, and where they go.
const FILES: &[(&str, &str)] = &[
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE", "LICENSE"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("docs", "docs"),
    ("crates/meta-configure/example/gitlab-meta-runner.toml", "share/gitlab-meta-runner.toml"),
];

/// Prints the path of the tar file.
pub(crate) fn run() -> Result<ExitCode> {
    let progress = Progress::begin("dist");
    progress.step("building the programs for release");
    Interrupt::watch()?.require(cargo().args(["build", "--release", "--locked"]))?;
    let name = format!("gitlab-meta-runner-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let folder = target().join("dist").join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).during(|| format!("remove `{}`", folder.display()))?;
    }
    for program in PROGRAMS {
        copy(&target().join("release").join(program), &folder.join("bin").join(program))?;
    }
    for (from, to) in FILES {
        copy(&repository().join(from), &folder.join(to))?;
    }
    progress.step("writing manual pages and completions");
    process::run(&mut docs::writer(&folder.join("share")))?;
    let tar = folder.with_file_name(format!("{name}.tar.gz"));
    progress.step("packing");
    pack(&folder, &tar)?;
    println!("{}", tar.display());
    Ok(ExitCode::SUCCESS)
}

/// Equal content gives an equal file: names sorted, no owner, and no time but that of the last commit.
fn pack(folder: &Path, tar: &Path) -> Result<()> {
    let time =
        process::run(Command::new("git").current_dir(repository()).args(["log", "-1", "--format=@%ct"]));
    // Not a checkout of git: then without a time.
    let time = time.map_or_else(|_| "@0".to_owned(), |time| time.trim().to_owned());
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+w"]);
    command.arg(format!("--mtime={time}")).args([
        "--use-compress-program=gzip --no-name",
        "--create",
        "--file",
    ]);
    command.arg(tar).arg("--directory").arg(folder.parent().unwrap_or(folder));
    command.arg(folder.file_name().unwrap_or_default());
    process::run(&mut command).map(drop)
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let step = || format!("copy `{}` to `{}`", from.display(), to.display());
    if from.is_dir() {
        for entry in fs::read_dir(from).during(step)? {
            let name = entry.during(step)?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to)).during(step)?;
    fs::copy(from, to).during(step).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{copy, pack};
    use std::fs;
    use std::process::Command;

    #[test]
    fn equal_content_gives_an_equal_file() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("from");
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/file"), "text").unwrap();
        let packed = ["one", "two"].map(|name| {
            let folder = directory.path().join(name).join("product-1");
            copy(&from, &folder).unwrap();
            let tar = directory.path().join(format!("{name}.tar.gz"));
            pack(&folder, &tar).unwrap();
            tar
        });
        assert_eq!(fs::read(&packed[0]).unwrap(), fs::read(&packed[1]).unwrap());
        let list = Command::new("tar").arg("--list").arg("--file").arg(&packed[0]).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert_eq!(list, "product-1/\nproduct-1/deep/\nproduct-1/deep/file\n");
    }
}
