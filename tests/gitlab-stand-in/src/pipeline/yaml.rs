//! YAML text to a [`Node`]: anchors, merge keys, and `!reference`.

use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;

use super::config::ConfigError;
use super::node::Node;

/// Reads the first document of `text`. JSON is read too, being YAML.
pub(super) fn parse_yaml(text: &str) -> Result<Node, ConfigError> {
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    // Scalars stay as written, so that a version `1.10` does not become 1.1.
    loader.early_parse(false);
    let parsed = Parser::new_from_str(text).load(&mut loader, true);
    let error = parsed.err().or_else(|| loader.error().cloned());
    if let Some(error) = error {
        return Err(ConfigError::new("Invalid configuration format:", &error.to_string()));
    }
    match loader.into_documents().first() {
        Some(document) if document.is_mapping() => convert(document),
        _ => Err(ConfigError::new("Invalid configuration format:", "expected a hash")),
    }
}

fn convert(yaml: &Yaml<'_>) -> Result<Node, ConfigError> {
    Ok(match yaml {
        Yaml::Representation(text, style, _) => scalar(text, *style),
        Yaml::Sequence(items) => Node::List(items.iter().map(convert).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut map = Vec::new();
            for (key, value) in entries {
                insert(&mut map, convert(key)?, convert(value)?)?;
            }
            Node::Map(map)
        }
        Yaml::Tagged(tag, inner) if tag.suffix == "reference" => {
            Node::Reference(convert(inner)?.texts("!reference")?)
        }
        Yaml::Tagged(_, inner) => convert(inner)?,
        _ => return Err(ConfigError::new("Invalid configuration format:", "unreadable value")),
    })
}

/// Adds a key; `<<` adds the keys of its map (or maps) that are not there yet.
fn insert(map: &mut Vec<(String, Node)>, key: Node, value: Node) -> Result<(), ConfigError> {
    let key = key.text("key")?;
    if key != "<<" {
        map.retain(|(known, _)| *known != key);
        map.push((key, value));
        return Ok(());
    }
    let sources = match value {
        Node::List(items) => items,
        one => vec![one],
    };
    for source in sources {
        for (key, value) in source.entries() {
            if !map.iter().any(|(known, _)| known == key) {
                map.push((key.clone(), value.clone()));
            }
        }
    }
    Ok(())
}

/// A plain scalar by the rules that GitLab's parser has (YAML 1.1 bools); anything quoted is text.
fn scalar(text: &str, style: ScalarStyle) -> Node {
    if style != ScalarStyle::Plain {
        return Node::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Node::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "on" | "On" => Node::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "off" | "Off" => Node::Bool(false),
        _ if text.parse::<f64>().is_ok() && !text.contains(char::is_alphabetic) => {
            Node::Number(text.to_owned())
        }
        _ => Node::Text(text.to_owned()),
    }
}
