//! Builds a script line by line, and wraps it so that it survives signals and unusual shells.

use super::escape::{Quoting, go_quote};
use super::paths::join;
use crate::build::Build;
use crate::job::variables::Variable;
use crate::joblog::{BOLD_GREEN, CLEAR, RESET, YELLOW};

/// Without these a signal makes some versions of bash print the whole script.
const TERM_TRAP: &str = "trap 'exit 1' TERM";

#[derive(Debug)]
pub(super) struct Writer {
    text: String,
    indent: usize,
    temporary: String,
    quoting: Quoting,
    check_exit_codes: bool,
    legacy_eval: bool,
    trace: bool,
}

impl Writer {
    pub(super) fn new(build: &Build) -> Self {
        let posix = build.flag("FF_POSIXLY_CORRECT_ESCAPES");
        Self {
            text: String::new(),
            indent: 0,
            temporary: build.directories.temporary(),
            quoting: if posix { Quoting::Posix } else { Quoting::AnsiC },
            check_exit_codes: build.flag("FF_ENABLE_BASH_EXIT_CODE_CHECK"),
            legacy_eval: build.flag("FF_USE_LEGACY_BASH_EVAL"),
            trace: build.settings.debug_trace,
        }
    }

    /// The whole script. Its body runs in a subshell, from one escaped string and without stdin.
    pub(super) fn finish(self, shell: &str) -> String {
        let body = self.quoting.escape(&self.text);
        let trace = if self.trace { "set -o xtrace\n" } else { "" };
        let run = if self.legacy_eval {
            format!(": | eval {body}\n")
        } else {
            format!("({TERM_TRAP}; eval {body}) < /dev/null\n")
        };
        format!(
            "#!/usr/bin/env {shell}\n\n{TERM_TRAP}\n\n{trace}\
             case \"$(set -o)\" in *\"pipefail\"*) set -o pipefail;; esac; set -o errexit\n\
             set +o noclobber\n{run}exit 0\n"
        )
    }

    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(&"  ".repeat(self.indent));
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(super) fn escape(&self, word: &str) -> String {
        self.quoting.escape(word)
    }

    pub(super) fn check_for_errors(&mut self) {
        if self.check_exit_codes {
            self.line(
                "_runner_exit_code=$?; if [ $_runner_exit_code -ne 0 ]; then exit $_runner_exit_code; fi",
            );
        }
    }

    /// A command with its words as they are.
    pub(super) fn command(&mut self, words: &[&str]) {
        let line = self.words(words);
        self.line(&line);
        self.check_for_errors();
    }

    /// A command in whose arguments the shell expands variables.
    pub(super) fn command_expanding(&mut self, words: &[&str]) {
        let line = self.words_expanding(words);
        self.line(&line);
        self.check_for_errors();
    }

    pub(super) fn words(&self, words: &[&str]) -> String {
        words.iter().map(|word| self.escape(word)).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn words_expanding(&self, words: &[&str]) -> String {
        let rest = words.iter().skip(1).map(|word| format!("\"{word}\""));
        words
            .first()
            .map(|program| self.escape(program))
            .into_iter()
            .chain(rest)
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(super) fn variable(&mut self, variable: &Variable) {
        let key = self.escape(&variable.key);
        if variable.file {
            let file = go_quote(&self.temporary_file(&variable.key));
            let (directory, value) = (go_quote(&self.temporary), self.escape(&variable.value));
            self.line(&format!("mkdir -p {directory}"));
            self.line(&format!("printf '%s' {value} > {file}"));
            self.line(&format!("export {key}={file}"));
            return;
        }
        let value = if !self.temporary.is_empty() && variable.value.starts_with(&self.temporary) {
            absolute(&variable.value)
        } else {
            variable.value.clone()
        };
        let value = self.escape(&value);
        self.line(&format!("export {key}={value}"));
    }

    /// Sets a variable to what the shell makes of a value in double quotes.
    pub(super) fn export_expanding(&mut self, name: &str, value: &str) {
        self.line(&format!("export {name}=\"{value}\""));
    }

    /// Takes over the `KEY=VALUE` lines that earlier stages left in a file.
    pub(super) fn source_env(&mut self, file: &str) {
        let (directory, file) = (go_quote(&self.temporary), go_quote(file));
        self.line(&format!("mkdir -p {directory}"));
        self.line(&format!("touch {file}"));
        self.line(&format!("while read -r line; do export \"$line\"; done < {file}"));
    }

    /// A file for `--env-file`, holding escaped `KEY="VALUE"` lines. Returns its path.
    pub(super) fn dotenv(&mut self, name: &str, key: &str, value: &str) -> String {
        let file = self.temporary_file(name);
        let value =
            value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
        self.line(&format!("cat << EOF > {file}\n{key}=\"{value}\"\nEOF\n"));
        file
    }

    pub(super) fn temporary_file(&self, name: &str) -> String {
        absolute(&join(&self.temporary, name))
    }

    /// Makes a directory beside the temporary files. Returns its path.
    pub(super) fn temporary_directory(&mut self, name: &str) -> String {
        let path = join(&self.temporary, name);
        self.make_directory(&path);
        path
    }

    pub(super) fn make_directory(&mut self, path: &str) {
        self.command(&["mkdir", "-p", path]);
    }

    pub(super) fn remove_directory(&mut self, path: &str) {
        self.if_directory(path);
        self.command_expanding(&["chmod", "-R", "u+rwX", path]);
        self.end_if();
        self.command_expanding(&["rm", "-r", "-f", path]);
    }

    pub(super) fn remove_file(&mut self, path: &str) {
        self.command_expanding(&["rm", "-f", path]);
    }

    pub(super) fn remove_files_below(&mut self, path: &str, name: &str) {
        self.find_and_remove(path, &format!("-name {} -type f -exec rm -f {{}}", go_quote(name)));
    }

    pub(super) fn remove_directories_below(&mut self, path: &str, name: &str) {
        self.find_and_remove(path, &format!("-name {} -type d -depth -exec rm -rf -- {{}}", go_quote(name)));
    }

    /// `-exec ... +` where find knows it, else `-exec ... ;`.
    fn find_and_remove(&mut self, path: &str, action: &str) {
        self.if_directory(path);
        let path = go_quote(path);
        self.line(&format!(
            "et='+' ; find /dev/null -exec true {{}} + 2>/dev/null || et=';' ; find {path} {action} \"${{et}}\""
        ));
        self.end_if();
    }

    pub(super) fn if_directory(&mut self, path: &str) {
        self.begin_if(&format!("[ -d {} ]", go_quote(path)), "");
    }

    pub(super) fn if_file(&mut self, path: &str) {
        self.begin_if(&format!("[ -e {} ]", go_quote(path)), "");
    }

    /// Silent: only the exit code counts.
    pub(super) fn if_command(&mut self, words: &[&str]) {
        let condition = self.words(words);
        self.begin_if(&format!("{condition} >/dev/null 2>&1"), " ");
    }

    pub(super) fn if_command_with_output(&mut self, words: &[&str]) {
        let condition = self.words(words);
        self.begin_if(&condition, " ");
    }

    pub(super) fn if_command_expanding(&mut self, words: &[&str]) {
        let condition = self.words_expanding(words);
        self.begin_if(&condition, " ");
    }

    fn begin_if(&mut self, condition: &str, blank: &str) {
        self.line(&format!("if {condition}{blank}; then"));
        self.indent += 1;
    }

    pub(super) fn otherwise(&mut self) {
        self.indent -= 1;
        self.line("else");
        self.indent += 1;
    }

    pub(super) fn end_if(&mut self) {
        self.indent -= 1;
        self.line("fi");
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.echo(&format!("{BOLD_GREEN}{text}{RESET}"));
    }

    pub(super) fn warning(&mut self, text: &str) {
        self.echo(&format!("{YELLOW}{text}{RESET}"));
    }

    fn echo(&mut self, text: &str) {
        let word = self.escape(text);
        self.line(&format!("echo {word}"));
    }

    /// A collapsible section with the whole of a multi-line command as its header.
    pub(super) fn command_section(&mut self, id: &str, command: &str) {
        let now = "$(awk 'BEGIN{srand(); print srand()}')";
        let header = self.escape(&format!("{BOLD_GREEN}$ {command}{RESET}"));
        self.line(&format!(
            "printf '%b\\n' section_start:{now}:section_{id}[hide_duration=true,collapsed=true]\r{CLEAR}{header}"
        ));
        self.line(&format!("printf '%b\\n' section_end:{now}:section_{id}\r{CLEAR}"));
    }

    /// Runs `body` only where the runner's command works; else a warning, and the stage succeeds.
    pub(super) fn guard_runner(&mut self, runner: &str, action: &str, body: impl FnOnce(&mut Self)) {
        self.if_command(&[runner, "--version"]);
        body(self);
        self.otherwise();
        self.warning(&format!("Missing {runner}. {action} is disabled."));
        self.end_if();
    }
}

/// A relative path is seen from where the script starts.
pub(super) fn absolute(path: &str) -> String {
    if path.starts_with('/') || path.starts_with("$PWD") { path.to_owned() } else { join("$PWD", path) }
}
