//! How much of a git that lies outside the system's directories (environment modules, Spack, `$HOME`) helper stages see.

use std::path::{Component, Path, PathBuf};

use meta_host::Environment;

/// Where programs are on every system.
pub(crate) const SYSTEM_DIRECTORIES: [&str; 9] =
    ["/usr", "/etc", "/opt", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"];

/// Variables by which environment modules make a git work. Each is a list of directories.
pub(crate) const MODULE_VARIABLES: [&str; 3] = ["LD_LIBRARY_PATH", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR"];

/// The directories without which git and git-lfs do not run, none if they are the system's. `private` are paths that must
/// stay out of sight: nothing is given that has one below it.
pub(crate) fn directories(environment: &Environment, private: &[PathBuf]) -> Vec<PathBuf> {
    let mut shown: Vec<PathBuf> = Vec::new();
    let programs = ["git", "git-lfs"].into_iter().filter_map(|name| environment.find_program(name));
    for path in programs.flat_map(|program| both_forms(&program)) {
        show(around_program(&path, private), &mut shown);
    }
    // The system's own git must not get another one's libraries.
    if !shown.is_empty() {
        let lists = MODULE_VARIABLES.iter().filter_map(|&name| environment.variables.get(name));
        let directories = lists.flat_map(|list| list.split(':')).map(Path::new).filter(|path| path.is_dir());
        for path in directories.flat_map(both_forms) {
            show(around_directory(&path, private), &mut shown);
        }
    }
    shown
}

fn show(directory: Option<PathBuf>, shown: &mut Vec<PathBuf>) {
    shown.extend(directory.filter(|new| !shown.iter().any(|other| new.starts_with(other))));
}

/// A path as it is found, and without links.
pub(crate) fn both_forms(path: &Path) -> Vec<PathBuf> {
    // What `..` means depends on the links before it.
    let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    let mut forms: Vec<PathBuf> = is_plain.then(|| path.to_owned()).into_iter().collect();
    forms.extend(path.canonicalize().ok().filter(|real| real != path));
    forms
}

/// A program's libraries may lie in another package of the same tree. A top-level directory is no such tree (`/gpfs` has
/// everybody's data); what is right below it may be one (`/gpfs/software`, `/apps/spack`).
fn around_program(program: &Path, private: &[PathBuf]) -> Option<PathBuf> {
    let bin = program.parent()?;
    let package = bin.parent()?;
    let tree = ancestor(program, 2).filter(|tree| package.starts_with(tree)).unwrap_or(package.to_owned());
    first_to_show([tree.as_path(), package, bin], private)
}

fn around_directory(directory: &Path, private: &[PathBuf]) -> Option<PathBuf> {
    let tree = ancestor(directory, 2).unwrap_or(directory.to_owned());
    first_to_show([tree.as_path(), directory], private)
}

/// The first that shows something new and nothing private.
fn first_to_show<const N: usize>(paths: [&Path; N], private: &[PathBuf]) -> Option<PathBuf> {
    let is_system = |path: &Path| SYSTEM_DIRECTORIES.iter().any(|system| path.starts_with(system));
    let has_private = |path: &Path| {
        let mut forms = both_forms(path).into_iter();
        forms.any(|form| private.iter().any(|private| private.starts_with(&form)))
    };
    paths
        .into_iter()
        .find(|path| path.parent().is_some() && !has_private(path))
        .filter(|path| !is_system(path))
        .map(Path::to_owned)
}

/// The first `depth` names of `path`.
fn ancestor(path: &Path, depth: usize) -> Option<PathBuf> {
    let names: Vec<_> = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    Some(Path::new("/").join(names.get(..depth)?.iter().collect::<PathBuf>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_program_elsewhere_brings_no_private_path() {
        let private = ["/home/ci", "/scratch/ci/node", "/scratch/ci/data"].map(PathBuf::from);
        for (program, expected) in [
            ("/usr/bin/git", None),
            ("/opt/git/bin/git", None),
            ("/apps/git/2.50/bin/git", Some("/apps/git")),
            ("/sw/bin/git", Some("/sw")),
            ("/home/ci/.local/bin/git", Some("/home/ci/.local")),
            ("/home/ci/bin/git", Some("/home/ci/bin")),
            ("/scratch/software/git/bin/git", Some("/scratch/software")),
            ("/scratch/ci/git/bin/git", Some("/scratch/ci/git")),
            ("/home/git", None),
            ("/git", None),
        ] {
            let shown = around_program(Path::new(program), &private);
            assert_eq!(shown.as_deref(), expected.map(Path::new), "{program}");
        }
    }

    #[test]
    fn directories_of_modules_bring_their_tree_or_themselves() {
        let private = ["/home/ci".into()];
        for (directory, expected) in [
            ("/usr/lib", None),
            ("/apps/curl/8/lib", Some("/apps/curl")),
            ("/apps", Some("/apps")),
            ("/home/ci/lib", Some("/home/ci/lib")),
            ("/home/ci", None),
            ("/", None),
        ] {
            let shown = around_directory(Path::new(directory), &private);
            assert_eq!(shown.as_deref(), expected.map(Path::new), "{directory}");
        }
    }

    #[test]
    fn links_bring_what_they_lead_to_and_libraries_come_with_a_git_elsewhere_only() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        for name in ["sw/git/bin", "sw/curl/lib", "modules", "secret"] {
            fs::create_dir_all(top.join(name)).unwrap();
        }
        let git = top.join("sw/git/bin/git");
        fs::File::create(&git).unwrap();
        fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(top.join("sw/git"), top.join("modules/git")).unwrap();
        let libraries = format!("/usr/lib::{}:/does/not/exist", top.join("sw/curl/lib").display());
        let environment = |path: &Path| Environment {
            variables: BTreeMap::from([
                ("PATH".to_owned(), path.display().to_string()),
                ("LD_LIBRARY_PATH".to_owned(), libraries.clone()),
            ]),
            ..Environment::capture()
        };
        let private = [top.join("secret")];
        let found = directories(&environment(&top.join("modules/git/bin")), &private);
        assert_eq!(found, ["modules/git", "sw/git", "sw/curl/lib"].map(|name| top.join(name)));
        assert_eq!(directories(&environment(Path::new("/does/not/exist")), &private), Vec::<PathBuf>::new());
    }
}
