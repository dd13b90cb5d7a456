//! A process as a value: built here, run in one place (`meta_host::process`).

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// Everything that is needed to start a process. `Display` is a line that a shell would take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// A path, or a name that is looked up in PATH.
    pub program: PathBuf,
    /// The arguments, without the program.
    pub args: Vec<String>,
    /// Variables that are set on top of the environment.
    pub env: Vec<(String, String)>,
    /// Whether the process starts with nothing but `env`.
    pub clear_env: bool,
    /// The directory to start in; the caller's without it.
    pub cwd: Option<PathBuf>,
    /// What the process reads; without it standard input is empty.
    pub stdin: Option<String>,
}

impl CommandLine {
    /// A command with these arguments and nothing else.
    pub fn new<A: Into<String>>(program: impl Into<PathBuf>, args: impl IntoIterator<Item = A>) -> Self {
        Self { program: program.into(), args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.program.to_string_lossy()))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_a_shell_would_take() {
        let command = CommandLine::new("/usr/bin/sbatch", ["--parsable", "--wrap=a b", "", "it's", "$X"]);
        assert_eq!(command.to_string(), r"/usr/bin/sbatch --parsable '--wrap=a b' '' 'it'\''s' '$X'");
    }
}
