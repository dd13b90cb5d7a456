//! `show`: the sections of every instance as they are used, without secrets. Pure but for the printing.

use meta_core::config::Config;
use meta_core::config::instances::InstanceConfig;
use meta_core::config::launch::LaunchConfig;
use meta_core::executor_file::executor_table;
use meta_core::instance::expand_runner;
use meta_core::name::InstanceName;
use meta_core::secret::{REDACTED, is_secret_key};
use meta_core::template::Template;
use meta_core::variables::Variables;
use meta_host::arguments::Paths;
use meta_host::configuration::variables;
use meta_host::{Environment, app, exit};
use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use crate::failure::ConfigureError;

/// Prints a TOML document with `launch`, `executor` and `runner` of every instance. What only exists later, on the node
/// or in the batch job, stays as it is written.
pub(crate) fn run(config: &Config, paths: &Paths, environment: &Environment) -> Result<u8, ConfigureError> {
    let mut instances = Table::new();
    instances.set_implicit(true);
    for (name, instance) in &config.instances {
        let mut variables = variables(environment, name, &instance.config_variables);
        let generated = paths.generated_config(config.name.as_str()).display().to_string();
        variables.builtins.insert("CONFIG".to_owned(), generated);
        instances.insert(name.as_str(), Item::Table(instance_table(config, name, instance, &variables)?));
    }
    let mut document = DocumentMut::new();
    document["name"] = value(config.name.as_str());
    document["url"] = value(&config.url);
    document["instances"] = Item::Table(instances);
    app::print(&document.to_string());
    Ok(exit::DONE)
}

fn instance_table(
    config: &Config,
    name: &InstanceName,
    instance: &InstanceConfig,
    variables: &Variables,
) -> Result<Table, ConfigureError> {
    let mut table = Table::new();
    table.insert("tags", value(instance.tags.iter().collect::<Array>()));
    table.insert("launch_priority", value(instance.launch_priority));
    table.insert("run_untagged", value(instance.run_untagged));
    table.insert("protected", value(instance.protected));
    if let Some(locked) = instance.locked {
        table.insert("locked", value(locked));
    }
    if let Some(launch) = &config.launch {
        table.insert("launch", Item::Table(launch_table(launch, variables)));
    }
    if let Some(executor) = &config.executor {
        let shown = |template: &Template| expand_or_keep(template, variables);
        table.insert("executor", Item::Table(executor_table(executor, &shown)));
    }
    let runner = expand_runner(&config.runner, variables)
        .map_err(|error| ConfigureError::Expand(error.report(&config.source)))?;
    table.insert("runner", Item::Table(runner));
    let variables_table: Table =
        instance.config_variables.iter().map(|(key, text)| (key.as_str(), value(text))).collect();
    if !variables_table.is_empty() {
        table.insert("config_variables", Item::Table(variables_table));
    }
    redact(&mut table, &secrets(config, variables));
    log::debug!("instance `{name}` is expanded");
    Ok(table)
}

fn launch_table(launch: &LaunchConfig, variables: &Variables) -> Table {
    let mut variables = variables.clone();
    variables.builtins.insert("NUM_JOBS".to_owned(), launch.group_size.to_string());
    let shown = |template: &Template| expand_or_keep(template, &variables);
    let mut table = Table::new();
    table.insert("executable", value(shown(&launch.executable)));
    table.insert("args", value(launch.args.iter().map(shown).collect::<Array>()));
    for (key, template) in [("workdir", &launch.workdir), ("stdin", &launch.stdin)] {
        if let Some(template) = template {
            table.insert(key, value(shown(template)));
        }
    }
    table
}

fn expand_or_keep(template: &Template, variables: &Variables) -> String {
    template.expand(variables).unwrap_or_else(|_| template.text().to_owned())
}

/// The values that must not be printed wherever they were expanded to. Shorter ones would hide plain words.
fn secrets(config: &Config, variables: &Variables) -> Vec<String> {
    let layers = variables.environment.iter().chain(&variables.config_variables);
    let named = layers.filter(|(name, _)| is_secret_key(name)).map(|(_, text)| text.clone());
    let token = config.management_token.iter().map(|token| token.reveal().to_owned());
    named.chain(token).filter(|text| text.len() >= 6).collect()
}

fn redact(table: &mut Table, secrets: &[String]) {
    each_string(table, &mut |key, text| {
        if is_secret_key(key) {
            return REDACTED.to_owned();
        }
        // `environment = ["API_TOKEN=..."]`: all that follows is the value, whatever it looks like.
        if let Some((name, value)) = text.split_once('=')
            && is_variable(name)
            && is_secret_key(name)
            && !value.contains('\n')
        {
            return format!("{name}={REDACTED}");
        }
        let text = meta_core::redaction::redact(text);
        secrets.iter().fold(text, |text, secret| text.replace(secret, REDACTED))
    });
}

fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Replaces every string below a table by what `change` makes of its key and text.
fn each_string(table: &mut dyn toml_edit::TableLike, change: &mut dyn FnMut(&str, &str) -> String) {
    for (key, item) in table.iter_mut() {
        match item {
            Item::Value(value) => change_value(key.get(), value, change),
            Item::Table(table) => each_string(table, change),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| each_string(table, change)),
            Item::None => {}
        }
    }
}

fn change_value(key: &str, value: &mut Value, change: &mut dyn FnMut(&str, &str) -> String) {
    match value {
        Value::String(text) => *value = change(key, text.value()).into(),
        Value::Array(array) => array.iter_mut().for_each(|value| change_value(key, value, change)),
        Value::InlineTable(table) => each_string(table, change),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_proxies_arguments_and_scripts() {
        let text = r##"environment = ["https_proxy=http://u:SECRETPW@proxy", "KEY_TOKEN=a b"]
args = ["--export=API_TOKEN=abcdefgh", "--partition=p"]
stdin = """
#!/bin/bash
# the token is read from a file, X=1
export REGISTRY_PASSWORD="a b"
run --option=1
"""
"##;
        let mut document: DocumentMut = text.parse().unwrap();
        redact(document.as_table_mut(), &[]);
        expect_test::expect![[r##"
            environment = ["https_proxy=http://<redacted>@proxy", "KEY_TOKEN=<redacted>"]
            args = ["--export=API_TOKEN=<redacted>", "--partition=p"]
            stdin = """
            #!/bin/bash
            # the token is read from a file, X=1
            export REGISTRY_PASSWORD=<redacted>
            run --option=1
            """
        "##]]
        .assert_eq(&document.to_string());
    }

    #[test]
    fn only_paths_have_a_home_directory() {
        let text = "[executor]\nregistry_ca_file = \"~/ca\"\napptainer_executable = \"~/bin/apptainer\"\nmount = [\"~/a:/b\"]\ndescription = \"~/x\"\nimage = \"$NAME\"\n";
        let config = "name = \"lab\"\nproject = \"g/p\"\nhostname = \"gitlab\"\nmanagement_token = \"t\"\n[runners.big]\ntags = [\"a\"]\n[runner]\nexecutor = \"custom\"\n";
        let config = meta_core::config::parse(std::path::Path::new("c"), &format!("{config}{text}")).unwrap();
        let variables = Variables {
            environment: [("HOME".to_owned(), "/home/ci".to_owned())].into(),
            ..Variables::default()
        };
        let shown =
            executor_table(&config.executor.unwrap(), &|template| expand_or_keep(template, &variables));
        expect_test::expect![[r#"
            image = "$NAME"
            apptainer_executable = "/home/ci/bin/apptainer"
            mount = ["/home/ci/a:/b"]
            description = "~/x"
            registry_ca_file = "/home/ci/ca"
        "#]]
        .assert_eq(&shown.to_string());
    }

    #[test]
    fn no_secret_is_left() {
        let mut document: DocumentMut =
            "token = \"a\"\nenvironment = [\"DB_PASSWORD=b\", \"A=1\"]\nscript = \"curl glpat-123\"\n[cache.s3]\nSecretKey = \"c\"\n"
                .parse()
                .unwrap();
        redact(document.as_table_mut(), &["glpat-123".to_owned()]);
        expect_test::expect![[r#"
            token = "<redacted>"
            environment = ["DB_PASSWORD=<redacted>", "A=1"]
            script = "curl <redacted>"
            [cache.s3]
            SecretKey = "<redacted>"
        "#]]
        .assert_eq(&document.to_string());
    }
}
