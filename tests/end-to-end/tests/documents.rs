//! What the documents say about the repository is true: links lead somewhere, and bad input is held by tests.

#![expect(clippy::unwrap_used, reason = "a document that cannot be read fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Markdown file, but none of other people's (the build output).
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(documents(&path));
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// Text and target of every link to a file, outside of code.
fn links(markdown: &str) -> Vec<(&str, &str)> {
    let mut fenced = false;
    let lines = markdown.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced
    });
    lines
        .flat_map(|line| {
            line.split("](").zip(line.split("](").skip(1)).filter_map(|(before, behind)| {
                let text = before.rsplit_once('[')?.1;
                let target = behind.split_once(')')?.0;
                Some((text, target))
            })
        })
        .filter(|(_, target)| !target.contains("://") && !target.starts_with('#'))
        .collect()
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    for document in documents(&repository()) {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for (_, target) in links(&text) {
            let file = target.split('#').next().unwrap();
            if !folder.join(file).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// The last cell of a row names a test and its file. The file has the test, and each part of the row's message.
#[test]
fn every_bad_input_is_held_by_a_test() {
    let docs = repository().join("docs");
    let text = fs::read_to_string(docs.join("bad-input.md")).unwrap();
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| input |")).collect();
    assert!(rows.len() >= 19, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, message, _, test] = cells.as_slice() else { panic!("not five cells: {row}") };
        let [(name, file)] = links(test)[..] else { panic!("no test: {row}") };
        let source = fs::read_to_string(docs.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = source.contains(&format!("fn {name}()")) || file.ends_with(&format!("/{name}"));
        assert!(found, "{file} has no {name}");
        let message = message.split("``").nth(1).unwrap_or_else(|| panic!("no message: {row}"));
        for part in message.split(" ... ").map(str::trim) {
            assert!(source.contains(part), "{file} does not say `{part}`");
        }
    }
}

/// Section and key of each line of the example that sets one, commented out or not. gitlab-runner's own are left out.
fn example_keys(text: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start_matches("# ")) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name
                .replace("runners.small-node", "runners.I")
                .replace("schedulers.gridengine", "schedulers.S");
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_')
            && !section.starts_with("runner.")
            && section != "runner"
        {
            keys.insert(format!("[{section}] {key}"));
        }
    }
    keys
}

/// The same of the first cells of the table: `[section]` and keys, each in backticks.
fn contract_keys(text: &str) -> BTreeSet<String> {
    let table = text.split("## 2. Configuration keys").nth(1).unwrap().split("### Variables").next().unwrap();
    let cells =
        table.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").next().unwrap());
    cells
        .flat_map(|cell| {
            let mut words = cell.split('`').skip(1).step_by(2).filter(|word| *word != "I").peekable();
            let section = words.next_if(|word| word.starts_with('[')).unwrap_or("[]");
            words
                .filter(|word| !word.starts_with('['))
                .map(move |key| format!("{section} {key}"))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn contracts_and_example_have_the_same_keys() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).unwrap();
    let example = example_keys(&read("crates/meta-configure/example/gitlab-meta-runner.toml"));
    let contracts = contract_keys(&read("docs/contracts.md"));
    assert_eq!(contracts.difference(&example).collect::<Vec<_>>(), [""; 0], "only in contracts");
    assert_eq!(example.difference(&contracts).collect::<Vec<_>>(), [""; 0], "only in the example");
}
