//! `[[executor.services]]`: services that every job gets, as `[[runners.docker.services]]` of gitlab-runner.

use std::collections::BTreeMap;

use toml_edit::{Array, InlineTable, Value};

use crate::reader::Section;
use crate::template::{Expansion, Template, Use};

/// One of them as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The image.
    pub name: Template,
    /// Further host names, parted by blanks or commas.
    pub alias: Option<Template>,
    /// Instead of the image's.
    pub entrypoint: Vec<Template>,
    /// Instead of the image's.
    pub command: Vec<Template>,
    /// Beside the job's public ones.
    pub variables: BTreeMap<String, Template>,
}

/// One of them as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The image.
    pub name: String,
    /// Further host names, parted by blanks or commas; may be empty.
    pub alias: String,
    /// Empty: the image's.
    pub entrypoint: Vec<String>,
    /// Empty: the image's.
    pub command: Vec<String>,
    /// Beside the job's public ones. Not to be expanded again.
    pub variables: BTreeMap<String, String>,
}

/// Reads `services` of `[executor]`.
pub(super) fn read_services(executor: &Section<'_>) -> Vec<ServiceConfig> {
    executor.sections("services").iter().filter_map(read).collect()
}

fn read(section: &Section<'_>) -> Option<ServiceConfig> {
    let name = section.template("name", Use::Text);
    if section.get("name").is_none() {
        section.missing("name", "name the service's image: `name = \"postgres:16\"`");
    }
    let words = |key| section.templates(key, Use::Text).unwrap_or_default();
    let (alias, entrypoint, command) =
        (section.template("alias", Use::Text), words("entrypoint"), words("command"));
    let variables = section.section("variables").map(read_variables).unwrap_or_default();
    section.finish();
    // A name that is missing or wrong has been reported.
    Some(ServiceConfig { name: name?, alias, entrypoint, command, variables })
}

fn read_variables(section: Section<'_>) -> BTreeMap<String, Template> {
    let read = |(key, item): (&str, _)| {
        let text = section.string_of(key, item)?;
        let template = section.reader().template(&text, &section.dotted(key), item.span(), Use::Text)?;
        Some((key.to_owned(), template))
    };
    section.table().iter().filter_map(read).collect()
}

/// The value of `services` that [`read_services`] reads back, with each template as `shown` makes it.
pub(crate) fn render(services: &[ServiceConfig], shown: &dyn Fn(&Template) -> String) -> Value {
    let words = |words: &[Template]| Value::from(words.iter().map(shown).collect::<Array>());
    let tables = services.iter().map(|service| {
        let mut table = InlineTable::new();
        table.insert("name", shown(&service.name).into());
        if let Some(alias) = &service.alias {
            table.insert("alias", shown(alias).into());
        }
        for (key, list) in [("entrypoint", &service.entrypoint), ("command", &service.command)] {
            if !list.is_empty() {
                table.insert(key, words(list));
            }
        }
        if !service.variables.is_empty() {
            let variables: InlineTable =
                service.variables.iter().map(|(key, value)| (key, Value::from(shown(value)))).collect();
            table.insert("variables", variables.into());
        }
        table
    });
    Value::Array(tables.collect())
}

pub(crate) fn expand(service: &ServiceConfig, expansion: &Expansion<'_>) -> ServiceSettings {
    ServiceSettings {
        name: expansion.text(&service.name),
        alias: expansion.optional(&service.alias).unwrap_or_default(),
        entrypoint: expansion.texts(&service.entrypoint),
        command: expansion.texts(&service.command),
        variables: service
            .variables
            .iter()
            .map(|(key, value)| (key.clone(), expansion.text(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::{Expect, expect};

    use crate::executor_file;
    use crate::executor_settings;
    use crate::variables::Variables;

    fn check(services: &str, expected: Expect) {
        let text = format!("version = 1\nname = \"x\"\n[executor]\n{services}\n");
        let found = match executor_file::parse(Path::new("x.executor.toml"), &text) {
            Err(problems) => problems.to_string(),
            Ok(file) => {
                let again = executor_file::parse(Path::new("y"), &file.render()).unwrap();
                assert_eq!(again.executor, file.executor, "what is rendered is read back");
                let variables = Variables {
                    environment: [("V".to_owned(), "16".to_owned())].into(),
                    ..Variables::default()
                };
                format!("{:#?}", executor_settings::expand(&file.executor, &variables).unwrap().services)
            }
        };
        expected.assert_eq(&found);
    }

    #[test]
    fn tables_of_either_kind_are_read() {
        check(
            "[[executor.services]]\nname = \"postgres:$V\"\nalias = \"db, sql\"\ncommand = [\"-c\", \"x=$$1\"]\n[executor.services.variables]\nPOSTGRES_PASSWORD = \"$V\"",
            expect![[r#"
                [
                    ServiceSettings {
                        name: "postgres:16",
                        alias: "db, sql",
                        entrypoint: [],
                        command: [
                            "-c",
                            "x=$1",
                        ],
                        variables: {
                            "POSTGRES_PASSWORD": "16",
                        },
                    },
                ]"#]],
        );
        check(
            "services = [{ name = \"redis\" }]",
            expect![[r#"
                [
                    ServiceSettings {
                        name: "redis",
                        alias: "",
                        entrypoint: [],
                        command: [],
                        variables: {},
                    },
                ]"#]],
        );
    }

    #[test]
    fn mistakes_are_shown() {
        check(
            "services = [\"redis\"]",
            expect![[r#"
            error: `executor.services` must be a list of tables
              --> x.executor.toml:4:12
              |
            4 | services = ["redis"]
              |            ^^^^^^^^^
            hint: write `[[executor.services]]` on a line of its own, and the keys of one of them below"#]],
        );
        check(
            "services = [{ nam = \"redis\", alias = 1 }]",
            expect![[r#"
                error: `name` is missing in `[executor.services]`
                  --> x.executor.toml:4:13
                  |
                4 | services = [{ nam = "redis", alias = 1 }]
                  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                hint: name the service's image: `name = "postgres:16"`

                error: unknown key `nam` in `[executor.services]`
                  --> x.executor.toml:4:15
                  |
                4 | services = [{ nam = "redis", alias = 1 }]
                  |               ^^^
                hint: did you mean `name`?

                error: `executor.services.alias` is an integer, and must be a string
                  --> x.executor.toml:4:38
                  |
                4 | services = [{ nam = "redis", alias = 1 }]
                  |                                      ^
                hint: write `alias = "..."`"#]],
        );
    }
}
