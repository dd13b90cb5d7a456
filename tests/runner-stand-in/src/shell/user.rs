//! What the job's author wrote: steps, after_script, hooks.

use super::scripts::{self, Stop};
use super::writer::Writer;
use crate::build::Build;
use crate::job::Step;

pub(super) fn step(build: &Build, name: &str, writer: &mut Writer) -> Result<(), Stop> {
    let step = build
        .job
        .steps
        .iter()
        .flatten()
        .find(|step| step.name.to_lowercase() == name)
        .ok_or(Stop::Nothing)?;
    scripts::exports(build, writer);
    scripts::enter_project(build, writer);
    if !build.runner.pre_build_script.is_empty() {
        commands(build, "pre_build_script", [build.runner.pre_build_script.as_str()], writer);
    }
    // `release` is made by the server, which leaves the variables in it to the runner.
    let expanded: Vec<String> = match step.name.as_str() {
        "release" => lines(step).map(|line| build.variables().expand(line)).collect(),
        _ => lines(step).map(str::to_owned).collect(),
    };
    commands(build, "script_step", expanded.iter().map(String::as_str), writer);
    if !build.runner.post_build_script.is_empty() {
        commands(build, "post_build_script", [build.runner.post_build_script.as_str()], writer);
    }
    Ok(())
}

pub(super) fn after_script(build: &Build, writer: &mut Writer) -> Result<(), Stop> {
    let step =
        build.job.steps.iter().flatten().find(|step| step.name == "after_script").ok_or(Stop::Nothing)?;
    if lines(step).next().is_none() {
        return Err(Stop::Nothing);
    }
    scripts::exports(build, writer);
    scripts::enter_project(build, writer);
    writer.notice("Running after script...");
    commands(build, "after_script_step", lines(step), writer);
    Ok(())
}

fn lines(step: &Step) -> impl Iterator<Item = &str> {
    step.script.iter().flatten().map(String::as_str)
}

/// Each command after an echo of itself. Of one with several lines only the first is shown, or a section with all.
pub(super) fn commands<'a>(
    build: &Build,
    prefix: &str,
    list: impl IntoIterator<Item = &'a str>,
    writer: &mut Writer,
) {
    let sections = build.flag("FF_SCRIPT_SECTIONS") && build.job.features.trace_sections;
    for (index, command) in list.into_iter().enumerate() {
        let command = command.trim();
        match command.split_once('\n') {
            _ if command.is_empty() => writer.line("echo"),
            None => writer.notice(&format!("$ {command}")),
            Some(_) if sections => writer.command_section(&format!("{prefix}_{index}"), command),
            Some((first, _)) => writer.notice(&format!("$ {first} # collapsed multi-line command")),
        }
        writer.line(command);
        writer.check_for_errors();
    }
}
