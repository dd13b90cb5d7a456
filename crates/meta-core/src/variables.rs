//! The variables of one instance, in three layers.

use std::collections::BTreeMap;

/// What `$NAME` means. A layer hides the ones below it: built-ins, then the instance's `config_variables`, then the
/// environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// `NAME`, `THIS`, `EXECUTOR`, and in `[launch]` `CONFIG`, `NUM_JOBS`, `LAUNCH_ID`.
    pub builtins: BTreeMap<String, String>,
    /// `[runners.I.config_variables]`, taken as written.
    pub config_variables: BTreeMap<String, String>,
    /// The environment of the running program.
    pub environment: BTreeMap<String, String>,
}

impl Variables {
    /// The value of a variable, from the highest layer that has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        [&self.builtins, &self.config_variables, &self.environment]
            .into_iter()
            .find_map(|layer| layer.get(name))
            .map(String::as_str)
    }

    /// The instance these variables belong to: the built-in `NAME`.
    pub fn instance(&self) -> Option<&str> {
        self.builtins.get("NAME").map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_hides_the_ones_below() {
        let layer =
            |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let variables = Variables {
            builtins: layer(&[("NAME", "builtin")]),
            config_variables: layer(&[("NAME", "config"), ("A", "config")]),
            environment: layer(&[("NAME", "env"), ("A", "env"), ("B", "env")]),
        };
        let got = ["NAME", "A", "B", "C"].map(|name| variables.get(name));
        assert_eq!(got, [Some("builtin"), Some("config"), Some("env"), None]);
    }
}
