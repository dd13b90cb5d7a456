//! Scripts, variables and the job log.

use end_to_end::parity::Expect::{Fails, Hides, Passes, Says, Shows};
use end_to_end::parity::{Case, Place, Row};
use serde_json::json;

pub(super) const ROWS: &[Row] = &[
    Row::cases("TestDockerCommandMultistepBuild", MULTISTEP),
    Row::cases("TestBuildPassingEnvsMultistep", PASSING_VARIABLES),
    Row::cases("TestDockerCommandSuccessRunRawVariable", RAW_VARIABLE),
    Row::play("TestDockerCommandSuccessRunFileVariableContent", file_variable),
    Row::play("TestBuildExpandedFileVariable", expanded_file_variable),
    Row::cases("TestBuildScriptSections", SECTIONS),
    Row::play("TestBuildMasking", masking),
    Row::never("TestBuildMaskingProxyExec", "gitlab-runner does it in its own executors only"),
    Row::cases("TestBuildLogLimitExceeded", LONG_LOGS),
    Row::cases("TestDockerCommandRunAttempts_InvalidAttempts", ATTEMPTS),
    Row::cases("scripts: exit codes", EXIT_CODES),
    Row::cases("scripts: binary output and odd characters", ODD_OUTPUT),
    Row::cases("scripts: CI_DEBUG_TRACE", DEBUG_TRACE),
    Row::cases("scripts: feature flags of the shell", FLAGS),
    Row::play("scripts: pre_build_script and post_build_script", build_scripts),
    Row::never("TestDockerCommand_Pwsh", "scripts are made for bash or sh"),
];

/// `release-cli` is made by the script: what it writes to the image's file system is there for the next steps.
const MULTISTEP: &[Case] = &[
    Case {
        job: r#"
script:
  - echo Hello World
  - printf '#!/bin/sh\necho "released $4"\n' > /usr/bin/release-cli
  - chmod +x /usr/bin/release-cli
release: {tag_name: $CI_JOB_ID, description: "of $CI_JOB_NAME"}
after_script: [echo After Script]"#,
        expect: &[Passes, Says("Hello World"), Shows("released --tag-name"), Says("After Script")],
    },
    Case {
        job: "script: [echo Hello World, exit 1]\nrelease: {tag_name: v1}\nafter_script: [echo After Script]",
        expect: &[Fails(1), Says("Hello World"), Hides("release-cli create"), Says("After Script")],
    },
    Case {
        job: "script: [echo Hello World]\nrelease: {tag_name: v1}\nafter_script: [echo After Script]",
        // There is no such program: the step fails after it began.
        expect: &[Fails(127), Shows("release-cli create"), Says("After Script")],
    },
];

const PASSING_VARIABLES: &[Case] = &[Case {
    job: r#"
cache: {key: $FROM_SCRIPT, paths: [file]}
script:
  - echo 'FROM_SCRIPT=it is $(here)' >> $GITLAB_ENV
  - echo text > file
release: {tag_name: v1}
before_script:
  - printf '#!/bin/sh\necho "step says $FROM_SCRIPT"\n' > /usr/bin/release-cli
  - chmod +x /usr/bin/release-cli
after_script: ['echo "after says $FROM_SCRIPT"']"#,
    expect: &[
        Passes,
        Says("step says it is $(here)"),
        Says("after says it is $(here)"),
        Shows("Created cache"),
    ],
}];

const RAW_VARIABLE: &[Case] = &[Case {
    job: "variables: {TEST: {value: '$VARIABLE$WITH$DOLLARS$$', expand: false}, OTHER: 'is $CI_JOB_NAME'}\nscript: [echo \"$TEST\", echo \"$OTHER\"]",
    expect: &[Passes, Says("$VARIABLE$WITH$DOLLARS$$"), Says("is job")],
}];

fn file_variable(place: &Place) {
    let text = "this is the content\nwith 'quotes', $dollars and no end of line";
    let place = place.with_variables(
        json!([{ "key": "TEST", "value": text, "file": true, "raw": true, "public": false }]),
    );
    let script = "script:\n  - cat $TEST | tail -n 1\n  - sha1sum < $TEST\n  - ls -l $TEST\n  - id -u";
    let sum = "dd256a9ef5101817d496b4a6a061a6fa09f093dc";
    place
        .job(script)
        .passes()
        .shows("with 'quotes', $dollars and no end of line")
        .shows(sum)
        .shows("/builds/");
    if place.level() != "C" {
        // Another user than the one that wrote it can read it.
        place.job(&format!("image: registry/user\n{script}")).passes().says("1234").shows(sum);
    }
}

fn expanded_file_variable(place: &Place) {
    let place = place.with_variables(json!([{ "key": "MY_FILE", "value": "FILE_CONTENTS", "file": true }]));
    let job = "variables: {MY_EXPANDED_FILE: $MY_FILE}\n\
               script: ['echo \"path: $MY_EXPANDED_FILE\"', 'echo \"content: $(cat $MY_EXPANDED_FILE)\"']";
    let path = format!("/builds/{}.tmp/MY_FILE", place.project());
    place.job(job).passes().shows(&path).says("content: FILE_CONTENTS");
}

const SECTIONS: &[Case] = &[
    Case {
        job: "variables: {FF_SCRIPT_SECTIONS: 'true'}\nscript:\n  - |-\n    echo \"Hello\n    World\"\n  - echo single line",
        expect: &[Passes, Shows("Hello\nWorld"), Says("single line")],
    },
    Case {
        job: "script:\n  - |-\n    echo \"Hello\n    World\"",
        expect: &[Passes, Says("$ echo \"Hello # collapsed multi-line command"), Shows("Hello\nWorld")],
    },
];

fn masking(place: &Place) {
    let variable = |key: &str, value: &str| json!({ "key": key, "value": value, "masked": true });
    let failed = place.with_variables(json!([variable("MASK_ERROR", "Job failed: exit status 1")]));
    failed.job("script: [exit 1]").fails(1).hides("Job failed: exit status 1").says("ERROR: [MASKED]");
    let place = place.with_variables(json!([
        variable("MASKED_KEY", "MASKED_VALUE"),
        variable("MASKED_KEY_OTHER", "MASKED_VALUE_OTHER"),
        { "key": "CLEARTEXT_KEY", "value": "CLEARTEXT_VALUE" },
    ]));
    let job = r#"
variables: {TOKEN_REVEALS: glpat-abcdef}
script:
  - echo "MASKED_KEY=$MASKED_KEY"
  - echo "MASKED_KEY_OTHER=$MASKED_KEY_OTHER"
  - echo "CLEARTEXT_KEY=$CLEARTEXT_KEY"
  - echo "TOKEN_REVEALS=$TOKEN_REVEALS"
  - printf '%s' "in two ${MASKED_KEY%UE}"; sleep 1; echo UE
  - echo "$MASKED_KEY" >&2
  - echo "$CI_JOB_TOKEN"
"#;
    place
        .job(job)
        .passes()
        .hides("MASKED_VALUE")
        .says("MASKED_KEY=[MASKED]")
        .says("MASKED_KEY_OTHER=[MASKED]")
        .says("CLEARTEXT_KEY=CLEARTEXT_VALUE")
        .says("TOKEN_REVEALS=glpat-[MASKED]")
        .says("in two [MASKED]")
        .says("[MASKED]");
}

const LONG_LOGS: &[Case] = &[
    Case {
        // A log of more than 4 MiB is cut, and the job goes on.
        job: "script:\n  - head -c 5000000 /dev/zero | tr '\\0' 'x'; echo\n  - echo the end of it\n  - exit 3",
        expect: &[Fails(3), Shows("Job's log exceeded limit of 4194304 bytes."), Hides("the end of it\n")],
    },
    Case {
        // A line of 100 kB comes through in one piece.
        job: "script:\n  - head -c 100000 /dev/zero | tr '\\0' y; echo end of line",
        expect: &[Passes, Shows("yyyyend of line")],
    },
];

const ATTEMPTS: &[Case] = &[Case {
    job: "variables: {GET_SOURCES_ATTEMPTS: '999', RESTORE_CACHE_ATTEMPTS: '0'}\nscript: [echo ran]",
    expect: &[
        Passes,
        Shows("GET_SOURCES_ATTEMPTS: number of attempts out of the range [1, 10], clamping to: 10"),
        Shows("RESTORE_CACHE_ATTEMPTS: number of attempts out of the range [1, 10], clamping to: 1"),
        Says("ran"),
    ],
}];

const EXIT_CODES: &[Case] = &[
    Case {
        job: "script: [exit 42]\nafter_script: [exit 7]",
        expect: &[Fails(42), Shows("Job failed: exit status 42")],
    },
    Case { job: "script: ['false', echo not reached]", expect: &[Fails(1), Hides("not reached\n")] },
    Case { job: "script: [exit 2]", expect: &[Fails(2)] },
    Case { job: "script: ['kill -KILL $$']", expect: &[Fails(137)] },
    Case { job: "script: [not-a-command]", expect: &[Fails(127)] },
    Case {
        job: "script: [echo fine]\nafter_script: [exit 7]",
        expect: &[Passes, Shows("after_script failed, but job will continue unaffected: exit status 7")],
    },
    Case {
        job: "variables: {AFTER_SCRIPT_IGNORE_ERRORS: 'false'}\nscript: [echo fine]\nafter_script: [exit 7]",
        expect: &[Fails(7)],
    },
    Case { job: "image: registry/debian:sid\nscript: ['false | cat', exit 3]", expect: &[Fails(1)] },
    Case { job: "image: registry/debian:sid\nscript: ['(exit 255)']", expect: &[Fails(255)] },
];

const ODD_OUTPUT: &[Case] = &[Case {
    job: r#"
script:
  - printf '\001\002\377\n'
  - head -c 65536 /dev/urandom | tr '\033\n' xx; echo; sleep 1
  - echo 'umlaut ä, quotes " and '"'"', backslash \ and $(nothing)'
  - echo; echo to stderr >&2; sleep 1
  - printf 'no end of line'"#,
    expect: &[
        Passes,
        Says("umlaut ä, quotes \" and ', backslash \\ and $(nothing)"),
        Says("to stderr"),
        Shows("no end of line"),
    ],
}];

const DEBUG_TRACE: &[Case] = &[
    Case {
        job: "variables: {CI_DEBUG_TRACE: 'true'}\nscript: [':']",
        expect: &[Passes, Shows("+ export"), Shows("CI_JOB_ID")],
    },
    Case {
        job: "image: registry/debian:sid\nvariables: {CI_DEBUG_TRACE: 'true'}\nscript: [':']",
        expect: &[Passes, Shows("+ export")],
    },
];

const FLAGS: &[Case] = &[
    Case {
        job: "image: registry/debian:sid\nvariables: {FF_ENABLE_BASH_EXIT_CODE_CHECK: 'true'}\nscript: [(exit 9), echo not reached]",
        expect: &[Fails(9), Hides("not reached\n")],
    },
    Case {
        job: "variables: {FF_USE_LEGACY_BASH_EVAL: 'true'}\nscript: [echo legacy]",
        expect: &[Passes, Says("legacy")],
    },
    Case {
        job: "variables: {FF_POSIXLY_CORRECT_ESCAPES: 'true', TEXT: \"a'b\\\"c$$d ä\"}\nscript: ['echo \"$TEXT\"']",
        expect: &[Passes, Says("a'b\"c$d ä")],
    },
    Case {
        job: "variables: {FF_TIMESTAMPS: 'false'}\nscript: [echo plain]",
        expect: &[Passes, Says("plain"), Hides("Z 01O")],
    },
];

fn build_scripts(place: &Place) {
    let place = place.with_runner(
        "pre_build_script = \"echo before; export SET=yes\"\npost_build_script = \"echo behind\"",
    );
    place
        .job("script: ['echo \"set: $SET\"']\nafter_script: [echo after]")
        .passes()
        .says("before")
        .says("set: yes")
        .says("behind");
    place.job("script: [exit 4]").fails(4).says("before").hides("behind\n");
}
