//! The names of gitlab-runner's stages and where each of them runs.

/// Where the script of a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the job's image.
    Image,
    /// With the host's tools: docker uses its helper image.
    Helper,
}

/// Where the stage `name` runs (gitlab-runner passes `build_script` for `step_script`; other steps keep their names).
pub(crate) fn place(name: &str) -> Place {
    if name == "build_script" || name == "after_script" || name.starts_with("step_") {
        Place::Image
    } else {
        Place::Helper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_scripts_run_in_the_image() {
        for name in ["build_script", "step_script", "step_release", "after_script"] {
            assert_eq!(place(name), Place::Image, "{name}");
        }
        for name in
            ["prepare_script", "get_sources", "clear_worktree", "restore_cache", "cleanup_file_variables"]
        {
            assert_eq!(place(name), Place::Helper, "{name}");
        }
    }
}
