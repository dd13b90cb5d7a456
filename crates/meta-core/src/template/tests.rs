use proptest::prelude::{any, proptest};

use super::*;

fn variables() -> Variables {
    let layer = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Variables {
        builtins: layer(&[("NAME", "gpu")]),
        config_variables: layer(&[("VALUE", "$NAME ${NAME} $$ \\$ ~")]),
        environment: layer(&[
            ("HOME", "/home/ci"),
            ("EMPTY", ""),
            ("TILDE", "~/x"),
            ("CUSTOM_ENV_ID", "42"),
            ("CUSTOM_ENV_EVIL", "../../etc"),
        ]),
    }
}

fn expand(text: &str, purpose: Use) -> Result<String, String> {
    let place = Place { value: Some(0..text.len() + 2), text_start: Some(1) };
    let template = Template::new(text, "launch.stdin", place, purpose).map_err(|problem| problem.message)?;
    template.expand(&variables()).map_err(|error| error.to_string())
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(expand(text, Use::Text).as_deref(), Ok(expected), "{text}");
}

#[test]
fn variables_and_defaults() {
    check("$NAME", "gpu");
    check("$NAME/x-${NAME}y", "gpu/x-gpuy");
    check("$NAME.$NAME$NAME", "gpu.gpugpu");
    check("ä$NAME€", "ägpu€");
    check("${NO:default}", "default");
    check("${NO:}|", "|");
    check("${NO:$HOME/.config}", "/home/ci/.config");
    check("${NO:${NEITHER:a b}}", "a b");
    check("${NO:{\"a\": {}}}", "{\"a\": {}}");
    check("${NO:a:b\\n$$}", "a:b\\n$");
    check("${NO:0:3}", "0:3");
    check("${EMPTY:default}", "");
    check("${NAME:$NO}", "gpu");
}

#[test]
fn dollars_can_be_written() {
    check("$$", "$");
    check("$$HOME $${HOME} $$(id)", "$HOME ${HOME} $(id)");
    check("$$$NAME", "$gpu");
    check("$$$$", "$$");
    check("\\$NAME", "$NAME");
    check("\\${X:-y}", "${X:-y}");
    check("\\$$", "\\$");
    check("\\$$$NAME", "\\$gpu");
    check("$${X:-y} $${X%y}", "${X:-y} ${X%y}");
}

#[test]
fn what_a_shell_reads_stays() {
    for text in [
        "$(date +%s)",
        "$((1 + 2))",
        "$?",
        "$1 $9",
        "$@ $* $# $! $-",
        "${1} ${@} ${10} ${#}",
        "a\\b \\n \\\\ \\",
        "$",
        "100 $",
        "\"$\"",
        "$'a\\n'",
        "{a,b} }{",
        "a ~ b",
        "$é",
    ] {
        check(text, text);
    }
    check("pid $$$$ and $?", "pid $$ and $?");
    check("`echo $NAME`", "`echo gpu`");
}

#[test]
fn values_are_not_expanded_again() {
    check("$VALUE", "$NAME ${NAME} $$ \\$ ~");
    check("${NO:$VALUE}", "$NAME ${NAME} $$ \\$ ~");
    assert_eq!(expand("$TILDE", Use::Path).as_deref(), Ok("~/x"));
}

#[test]
fn the_home_directory() {
    let path = |text| expand(text, Use::Path);
    assert_eq!(path("~").as_deref(), Ok("/home/ci"));
    assert_eq!(path("~/a/~").as_deref(), Ok("/home/ci/a/~"));
    assert_eq!(path("/a~").as_deref(), Ok("/a~"));
    assert_eq!(
        path("~other/x").unwrap_err(),
        "`launch.stdin`: the home directory of another user is not looked up"
    );
    check("~/a", "~/a");
}

#[test]
fn shell_forms_are_refused_with_the_way_out() {
    for text in [
        "${X:-y}", "${X:=y}", "${X:?y}", "${X:+y}", "${X%y}", "${X#y}", "${X-y}", "${X/a/b}", "${#X}",
        "${!X}", "${}", "${X[0]}",
    ] {
        let problem = Template::new(text, "key", Place::default(), Use::Text).unwrap_err();
        assert_eq!(
            problem.message,
            format!("`key`: `{text}` is neither `${{NAME}}` nor `${{NAME:default}}`")
        );
        assert_eq!(problem.hint.unwrap(), format!("write `${text}` to leave it to the shell"));
    }
    for text in ["${X", "${X:a", "${X:${Y}", "${X:{}"] {
        let problem = Template::new(text, "key", Place::default(), Use::Text).unwrap_err();
        assert_eq!(problem.message, "`key`: `${X` is not closed", "{text}");
    }
}

#[test]
fn a_missing_variable_has_its_place_and_two_ways_out() {
    let place = Place { value: Some(10..40), text_start: Some(11) };
    let template =
        Template::new("\\ {$NAME} ${NO:${SLURM_JOB_ID}}", "launch.stdin", place, Use::Text).unwrap();
    let error = template.expand(&variables()).unwrap_err();
    let fault = &error.faults[0];
    assert_eq!((fault.missing.as_deref(), &fault.span), (Some("SLURM_JOB_ID"), &Some(26..41)));
    assert_eq!(error.to_string(), "`launch.stdin` of instance `gpu`: `$SLURM_JOB_ID` is not set");
    assert_eq!(
        fault.hint,
        "write `$$SLURM_JOB_ID` to leave it to the shell of the batch job, `${SLURM_JOB_ID:default}` to have a default, \
         or set it in the environment or in `config_variables`"
    );
}

#[test]
fn every_missing_variable_is_found() {
    let template =
        Template::new("~/$A ${NO:$B} $A $NAME ${C:x}", "key", Place::default(), Use::Path).unwrap();
    let missing: Vec<_> = template
        .expand(&Variables::default())
        .unwrap_err()
        .faults
        .into_iter()
        .filter_map(|fault| fault.missing)
        .collect();
    assert_eq!(missing, ["A", "B", "NAME", "HOME"]);
}

#[test]
fn a_job_cannot_lead_a_path_elsewhere() {
    assert_eq!(expand("/b/$CUSTOM_ENV_ID", Use::Path).as_deref(), Ok("/b/42"));
    assert_eq!(
        expand("/b/$CUSTOM_ENV_EVIL", Use::Path).unwrap_err(),
        "`launch.stdin` of instance `gpu`: the job's `$CUSTOM_ENV_EVIL` would leave its directory"
    );
    check("$CUSTOM_ENV_EVIL", "../../etc");
}

#[test]
fn variables_in_defaults_are_found() {
    let template = Template::new("${A:$LAUNCH_ID} $$NOT", "key", Place::default(), Use::Text).unwrap();
    assert!(template.uses("A") && template.uses("LAUNCH_ID") && !template.uses("NOT"));
}

proptest! {
    #[test]
    fn text_without_dollar_is_unchanged(text in any::<String>()) {
        let text = text.replace('$', "");
        assert_eq!(expand(&text, Use::Text), Ok(text));
    }

    #[test]
    fn doubled_dollars_come_back(text in "[a-z$\\\\{}:(~ ]{0,20}") {
        assert_eq!(expand(&text.replace('$', "$$"), Use::Text), Ok(text));
    }

    #[test]
    fn no_text_reaches_a_syntax_error_of_subst(text in "[A-C$\\\\{}:1-]{0,12}") {
        if let Err(message) = expand(&text, Use::Text) {
            let ours = ["is neither", "is not closed", "is not set"];
            assert!(ours.iter().any(|part| message.contains(part)), "{message}");
        }
    }
}
