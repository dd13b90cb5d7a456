//! GPUs for the job: Apptainer finds the libraries, we show the devices in the `/dev` that we make.

use std::fs;
use std::path::{Path, PathBuf};

use meta_core::executor_settings::ExecutorSettings;

/// Apptainer's flags. Where a node has no such libraries, they do nothing.
pub(crate) fn flags(settings: &ExecutorSettings) -> impl Iterator<Item = String> {
    let flags = [(settings.gpu_nvidia, "--nv"), (settings.gpu_amd, "--rocm")];
    flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag.to_owned())
}

/// The devices in `dev`, sorted. Which of them the job may use is the batch system's business.
pub(crate) fn devices(settings: &ExecutorSettings, dev: &Path) -> Vec<PathBuf> {
    let wanted = |name: &str| {
        (settings.gpu_nvidia && name.starts_with("nvidia"))
            || (settings.gpu_amd && matches!(name, "kfd" | "dri"))
    };
    let entries = fs::read_dir(dev).into_iter().flatten().flatten();
    let mut devices: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(wanted))
        .map(|entry| entry.path())
        .collect();
    devices.sort();
    devices
}

#[cfg(test)]
mod tests {
    use meta_core::executor_file;
    use meta_core::executor_settings::expand;
    use meta_core::variables::Variables;

    use super::*;

    fn settings(text: &str) -> ExecutorSettings {
        let text = format!("version = 1\nname = \"x\"\n[executor]\n{text}\n");
        let file = executor_file::parse(Path::new("x.executor.toml"), &text).unwrap();
        expand(&file.executor, &Variables::default()).unwrap()
    }

    #[test]
    fn each_kind_has_its_flag_and_devices() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["nvidia0", "nvidiactl", "nvidia-uvm", "kfd", "sda"] {
            fs::File::create(directory.path().join(name)).unwrap();
        }
        for name in ["nvidia-caps", "dri"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let check = |text: &str, flag: &[&str], names: &[&str]| {
            let settings = settings(text);
            let found = devices(&settings, directory.path());
            let found: Vec<_> =
                found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!(flags(&settings).collect::<Vec<_>>(), flag, "{text}");
            assert_eq!(found, names, "{text}");
        };
        check("", &[], &[]);
        check("gpu_nvidia = true", &["--nv"], &["nvidia-caps", "nvidia-uvm", "nvidia0", "nvidiactl"]);
        check("gpu_amd = \"${AMD:true}\"", &["--rocm"], &["dri", "kfd"]);
    }
}
