//! The text of `NAME.gitlab-runner.toml`: pure, sorted, equal for equal input.

use std::path::Path;

use meta_core::name::InstanceName;
use meta_core::registrations::Registration;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

/// One `[[runners]]` entry to be.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) name: &'a InstanceName,
    pub(crate) registration: &'a Registration,
    /// `[runner]`, expanded.
    pub(crate) section: Table,
}

/// What all entries share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) url: &'a str,
    pub(crate) ca_file: Option<&'a str>,
    pub(crate) data_dir: &'a Path,
    /// The programs whose calls get `--data-dir`: what `$THIS` and `$EXECUTOR` expand to.
    pub(crate) ours: [&'a str; 2],
}

/// Renders the file. `runners` is in the order of the result.
pub(crate) fn render(runners: Vec<Runner<'_>>, shared: &Shared<'_>) -> String {
    let mut document = DocumentMut::new();
    // run-single reads no global key; `run`, which an admin may use by hand, would take one job at a time by default, too.
    document["concurrent"] = value(1);
    let mut entries = ArrayOfTables::new();
    for runner in runners {
        entries.push(entry(runner, shared));
    }
    document["runners"] = Item::ArrayOfTables(entries);
    document.to_string()
}

fn entry(runner: Runner<'_>, shared: &Shared<'_>) -> Table {
    let mut table = runner.section;
    name_our_files(&mut table, shared);
    allow_clone_path(&mut table, shared);
    table.insert("name", value(runner.name.as_str()));
    table.insert("url", value(shared.url));
    // GitLab's ids are signed 64-bit integers themselves.
    table.insert("id", value(i64::try_from(runner.registration.id).unwrap_or(i64::MAX)));
    table.insert("token", value(runner.registration.token.reveal()));
    if let Some(file) = shared.ca_file {
        // What the admin wrote for gitlab-runner alone is left alone.
        table.entry("tls-ca-file").or_insert_with(|| value(file));
    }
    table.sort_values();
    table
}

/// gitlab-runner calls the executor from any directory and with no flag of ours; it must find its data directory.
fn name_our_files(table: &mut Table, shared: &Shared<'_>) {
    let Some(custom) = table.get_mut("custom").and_then(Item::as_table_mut) else { return };
    for stage in ["config", "prepare", "run", "cleanup"] {
        let program = custom.get(&format!("{stage}_exec")).and_then(Item::as_str);
        if !program.is_some_and(|program| shared.ours.contains(&program)) {
            continue;
        }
        let args = custom.entry(&format!("{stage}_args")).or_insert_with(|| value(Array::new()));
        let Some(args) = args.as_array_mut() else { continue };
        let is_flag = |arg: &str| arg == "--data-dir" || arg.starts_with("--data-dir=");
        if !args.iter().filter_map(toml_edit::Value::as_str).any(is_flag) {
            args.push("--data-dir");
            args.push(shared.data_dir.to_string_lossy().as_ref());
        }
    }
}

/// Docker lets jobs choose their directory with `GIT_CLONE_PATH`. gitlab-runner refuses it to custom executors that do not
/// say otherwise, since their `/builds` may be shared; each job of ours has its own. What the admin wrote is left alone.
fn allow_clone_path(table: &mut Table, shared: &Shared<'_>) {
    let program = table.get("custom").and_then(|custom| custom.get("run_exec")).and_then(Item::as_str);
    if program.is_some_and(|program| shared.ours.contains(&program))
        && !table.contains_key("custom_build_dir")
    {
        let mut section = Table::new();
        section.insert("enabled", value(true));
        table.insert("custom_build_dir", Item::Table(section));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::secret::Secret;

    const SECTION: &str = "executor = \"custom\"\nbuilds_dir = \"/b\"\n[custom]\nrun_exec = \"/bin/meta-executor\"\nrun_args = [\"big\", \"run\"]\nprepare_exec = \"/other\"\n";

    fn rendered(section: &str) -> String {
        let name: InstanceName = "big".parse().unwrap();
        let registration = Registration {
            id: 7,
            token: Secret::new("glrt-x"),
            token_issued_at: None,
            token_expires_at: None,
        };
        let section: DocumentMut = section.parse().unwrap();
        let runner = Runner { name: &name, registration: &registration, section: section.as_table().clone() };
        let shared = Shared {
            url: "https://gitlab.example.com",
            ca_file: Some("/ca.pem"),
            data_dir: Path::new("/data"),
            ours: ["/bin/gitlab-meta-runner", "/bin/meta-executor"],
        };
        render(vec![runner], &shared)
    }

    #[test]
    fn an_entry_is_sorted_and_names_our_data_directory() {
        expect_test::expect![[r#"
            concurrent = 1

            [[runners]]
            builds_dir = "/b"
            executor = "custom"
            id = 7
            name = "big"
            tls-ca-file = "/ca.pem"
            token = "glrt-x"
            url = "https://gitlab.example.com"
            [runners.custom]
            run_exec = "/bin/meta-executor"
            run_args = ["big", "run", "--data-dir", "/data"]
            prepare_exec = "/other"

            [runners.custom_build_dir]
            enabled = true
        "#]]
        .assert_eq(&rendered(SECTION));
        assert_eq!(rendered(SECTION), rendered(SECTION));
    }

    #[test]
    fn what_the_admin_wrote_is_not_written_twice() {
        for args in
            [r#"["--data-dir", "/d", "executor", "big", "run"]"#, r#"["big", "run", "--data-dir=/d"]"#]
        {
            let text = rendered(&SECTION.replace(r#"["big", "run"]"#, args));
            assert!(text.contains(&format!("run_args = {args}\n")), "{text}");
        }
        let text = rendered(&format!("tls-ca-file = \"/own.pem\"\n{SECTION}"));
        assert!(text.contains("tls-ca-file = \"/own.pem\"") && !text.contains("/ca.pem"), "{text}");
    }

    #[test]
    fn clone_paths_stay_as_the_admin_wants_them() {
        let refused = format!("{SECTION}[custom_build_dir]\nenabled = false\n");
        assert!(
            rendered(&refused).contains("enabled = false") && !rendered(&refused).contains("enabled = true")
        );
        let of_others = SECTION.replace("/bin/meta-executor", "/bin/other");
        assert!(!rendered(&of_others).contains("custom_build_dir"));
    }
}
