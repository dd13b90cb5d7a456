//! GPUs for the job: Apptainer finds the libraries, we show the devices in the `/dev` that we make.

use std::fs;
use std::path::{Path, PathBuf};

use meta_core::executor_settings::ExecutorSettings;

/// Where Apptainer shows the libraries.
pub(crate) const LIBRARIES: &str = "/.singularity.d/libs";

/// What it shows in `/usr/bin`, if the node has it (its `nvliblist.conf` and `rocmliblist.conf`).
const NVIDIA_PROGRAMS: [&str; 5] = [
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
];
const AMD_PROGRAMS: [&str; 2] = ["rocm-smi", "rocminfo"];

/// Apptainer's flags. Where a node has no such libraries, they do nothing.
pub(crate) fn flags(settings: &ExecutorSettings) -> impl Iterator<Item = String> {
    let flags = [(settings.gpu_nvidia, "--nv"), (settings.gpu_amd, "--rocm")];
    flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag.to_owned())
}

/// Whether the job may have any.
pub(crate) fn are_wanted(settings: &ExecutorSettings) -> bool {
    settings.gpu_nvidia || settings.gpu_amd
}

/// The job's `LD_LIBRARY_PATH`, as Apptainer would set it: its libraries behind those of the image or the job.
pub(crate) fn library_path(path: Option<&str>) -> String {
    path.filter(|path| !path.is_empty())
        .map_or_else(|| LIBRARIES.to_owned(), |path| format!("{path}:{LIBRARIES}"))
}

/// Where Apptainer shows those programs that `has` says the node has.
pub(crate) fn programs(settings: &ExecutorSettings, has: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let nvidia = NVIDIA_PROGRAMS.iter().filter(|_| settings.gpu_nvidia);
    let amd = AMD_PROGRAMS.iter().filter(|_| settings.gpu_amd);
    nvidia.chain(amd).filter(|name| has(name)).map(|name| Path::new("/usr/bin").join(name)).collect()
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
    fn programs_that_the_node_has_get_their_place() {
        let check = |text: &str, expected: &[&str]| {
            let found = programs(&settings(text), |name| ["nvidia-smi", "rocminfo"].contains(&name));
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text}");
        };
        check("", &[]);
        check("gpu_nvidia = true", &["/usr/bin/nvidia-smi"]);
        check("gpu_amd = true", &["/usr/bin/rocminfo"]);
    }

    #[test]
    fn the_libraries_come_last() {
        assert_eq!(library_path(None), LIBRARIES);
        assert_eq!(library_path(Some("")), LIBRARIES);
        assert_eq!(library_path(Some("/opt/lib")), "/opt/lib:/.singularity.d/libs");
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
